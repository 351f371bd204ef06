// Load puts a load on a gateway, on the upstream itself, or on a peer, and prints as one line of JSON how it fared.
//
// Streams and calls are independent: -streams N keeps N streams open, each with -rate events a second; -inflight N keeps
// N calls that are not streamed under way; -images N sends that many calls a second with a picture of 5 MB. -first N
// does something else: N short streams one after the other, for the time to the first event of each.
//
//	go run ./load -target grpc://127.0.0.1:50051 -streams 100 -rate 50 -pid 4711
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"
)

type options struct {
	target      string
	headers     headers
	model       string
	streams     int
	rate        float64
	inflight    int
	images      float64
	first       int
	mergeWindow time.Duration
	connections int
	pid         int
	warmup      time.Duration
	window      time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "", "grpc://`host:port` of a gateway, or http://host:port that has /v1/messages")
	flag.Var(&o.headers, "header", "`name: value` sent with every HTTP request; may be repeated")
	flag.StringVar(&o.model, "model", "claude-opus-5-5", "model of every request")
	flag.IntVar(&o.streams, "streams", 0, "streams kept open")
	flag.Float64Var(&o.rate, "rate", 50, "events a second of each stream; 0 for streams that are silent")
	flag.IntVar(&o.inflight, "inflight", 0, "calls kept under way, which are not streamed")
	flag.Float64Var(&o.images, "images", 0, "calls a second with a picture of 5 MB")
	flag.IntVar(&o.first, "first", 0, "short streams one after the other, instead of all else")
	flag.DurationVar(&o.mergeWindow, "merge-window", 0, "window that streams ask for, in which events are joined")
	flag.IntVar(&o.connections, "connections", 4, "connections to a gateway")
	flag.IntVar(&o.pid, "pid", 0, "process whose tree's CPU and memory is measured")
	flag.DurationVar(&o.warmup, "warmup", time.Second, "time between the last stream's opening and the measurement")
	flag.DurationVar(&o.window, "window", 3*time.Second, "time of the measurement")
	flag.Parse()

	api, err := dial(o)
	if err != nil {
		log.Fatal(err)
	}
	measure := underLoad
	if o.first > 0 {
		measure = firstEvents
	}
	result, err := measure(api, o)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// headers are those of a flag that may be repeated.
type headers [][2]string

func (h *headers) String() string { return fmt.Sprint(*h) }

func (h *headers) Set(text string) error {
	name, value, found := strings.Cut(text, ":")
	if !found {
		return fmt.Errorf("not NAME: VALUE: %s", text)
	}
	*h = append(*h, [2]string{name, strings.TrimSpace(value)})
	return nil
}
