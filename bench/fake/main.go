// Fake answers as the Claude API does, as fast as it can, so that what a gateway costs can be told from what it waits for.
//
// The caller says in its prompt how the answer is to come: see plan. Every delta carries the time at which it was sent.
// It checks nothing and knows one path, POST /v1/messages; the rest of what is posted, such as telemetry, it swallows.
//
//	go run ./fake -listen 127.0.0.1:8081
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`host:port` to serve on")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The fake upstream is at http://%s\n", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn)
	}
}

// serve answers one request after the other. It speaks HTTP/1.1 itself: one write an event, and nothing in between.
func serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 64<<10)
	var body bytes.Buffer
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if strings.EqualFold(request.Header.Get("Expect"), "100-continue") {
			if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return
			}
		}
		body.Reset()
		if _, err := body.ReadFrom(request.Body); err != nil {
			return
		}
		// What fails is the caller's leaving, which is its right.
		if answer(conn, request, body.Bytes()) != nil {
			return
		}
	}
}

func answer(conn net.Conn, request *http.Request, body []byte) error {
	switch {
	case request.Method != http.MethodPost:
		return write(conn, "404 Not Found", `{"type":"error","error":{"type":"not_found_error","message":"no such path"}}`)
	case request.URL.Path != "/v1/messages":
		return write(conn, "200 OK", "{}")
	case streams(body):
		return stream(conn, readPlan(body))
	default:
		return write(conn, "200 OK", wholeMessage)
	}
}

func write(conn net.Conn, status, body string) error {
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%scontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s",
		status, commonHeaders, len(body), body)
	return err
}

// streams tells whether a request asks for events, in either spelling of JSON.
func streams(body []byte) bool {
	return bytes.Contains(body, []byte(`"stream":true`)) || bytes.Contains(body, []byte(`"stream": true`))
}
