package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/claude-grpc/claude-grpc/bench/stamp"
)

const (
	commonHeaders = "request-id: req_bench\r\nanthropic-ratelimit-requests-remaining: 1000\r\n"

	// Deltas of thinking before those of text.
	thinkingDeltas = 4

	usage = `"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":34}`
	head  = `"id":"msg_bench","type":"message","role":"assistant","model":"claude-opus-5-5"`

	wholeMessage = `{` + head + `,"content":[{"type":"thinking","thinking":"Light is scattered, blue most of all.",` +
		`"signature":"c2lnbmF0dXJl"},{"type":"text","text":"Because air scatters short waves more than long ones."}],` +
		`"stop_reason":"end_turn","stop_sequence":null,` + usage + `}`
)

var (
	start = event("message_start", `"message":{`+head+`,"content":[],"stop_reason":null,"stop_sequence":null,`+usage+`}`) +
		event("content_block_start", `"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}`)
	turn = event("content_block_delta", `"index":0,"delta":{"type":"signature_delta","signature":"c2lnbmF0dXJl"}`) +
		event("content_block_stop", `"index":0`) +
		event("content_block_start", `"index":1,"content_block":{"type":"text","text":""}`)
	end = event("content_block_stop", `"index":1`) +
		event("message_delta", `"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":34}`) +
		event("message_stop", "")

	thinking = newDelta(0, "thinking")
	text     = newDelta(1, "text")
)

// stream sends an answer's events, one chunk and one write each but for those that come together at a turn.
func stream(conn net.Conn, p plan) error {
	_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%scontent-type: text/event-stream\r\ncache-control: no-cache\r\n"+
		"transfer-encoding: chunked\r\n\r\n%s", commonHeaders, chunk(start))
	if err != nil {
		return err
	}
	if p.rate == 0 {
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	if err := deltas(conn, p); err != nil {
		return err
	}
	_, err = io.WriteString(conn, chunk(end)+"0\r\n\r\n")
	return err
}

func deltas(conn net.Conn, p plan) error {
	interval := time.Duration(float64(time.Second) / p.rate)
	// Streams that begin together shall not go on in step.
	next := time.Now().Add(rand.N(interval))
	buffer := make([]byte, 0, 512)
	for n := 0; p.events == 0 || n < p.events; n++ {
		time.Sleep(time.Until(next))
		next = next.Add(interval)
		kind := text
		if n < thinkingDeltas {
			kind = thinking
		}
		buffer = buffer[:0]
		if n == thinkingDeltas {
			buffer = append(buffer, chunk(turn)...)
		}
		buffer = append(buffer, kind.before...)
		buffer = append(stamp.Append(buffer, n), kind.after...)
		if _, err := conn.Write(buffer); err != nil {
			return err
		}
	}
	return nil
}

// delta is the chunk of an event but for the stamp in its middle.
type delta struct{ before, after string }

func newDelta(index int, kind string) delta {
	whole := event("content_block_delta",
		fmt.Sprintf(`"index":%d,"delta":{"type":"%s_delta","%[2]s":"%s"}`, index, kind, strings.Repeat(" ", stamp.Size)))
	before, after, _ := strings.Cut(chunk(whole), strings.Repeat(" ", stamp.Size))
	return delta{before, after}
}

func event(kind, members string) string {
	if members != "" {
		members = "," + members
	}
	return fmt.Sprintf("event: %s\ndata: {\"type\":\"%[1]s\"%s}\n\n", kind, members)
}

func chunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }
