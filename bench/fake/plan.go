package main

import (
	"bytes"
	"fmt"
)

// plan is how an answer is to come. A prompt holds it as "[[bench rate=50 events=100]]".
type plan struct {
	// rate is how many deltas a second are sent; 0 sends the start of the answer and then nothing.
	rate float64
	// events is how many deltas there are; 0 goes on until the caller leaves.
	events int
}

func readPlan(body []byte) plan {
	p := plan{rate: 1000, events: 20}
	_, after, found := bytes.Cut(body, []byte("[[bench "))
	if !found {
		return p
	}
	words, _, _ := bytes.Cut(after, []byte("]]"))
	// Words that are missing keep the values above.
	fmt.Sscanf(string(words), "rate=%g events=%d", &p.rate, &p.events)
	return p
}
