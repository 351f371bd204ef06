package main

import (
	"context"
	"fmt"
	"net/url"
)

const (
	maxTokens = 1000

	// A picture of 5 MB in base64.
	imageBytes = 3_750_000
)

// api is a way to Claude.
type api interface {
	// stream opens an answer and calls read with the text of each message until the answer or ctx ends. The error is
	// nil if and only if the answer is whole.
	stream(ctx context.Context, prompt string, read func(text []byte)) error
	// create waits for a whole answer.
	create(ctx context.Context, prompt string) error
	// createWithImage is create with a picture of 5 MB.
	createWithImage(ctx context.Context, prompt string) error
}

func dial(o options) (api, error) {
	target, err := url.Parse(o.target)
	if err != nil {
		return nil, err
	}
	switch target.Scheme {
	case "grpc":
		return dialGRPC(target.Host, o)
	case "http":
		return newHTTP(o), nil
	default:
		return nil, fmt.Errorf("neither grpc:// nor http://: %q", o.target)
	}
}

// prompt tells the fake upstream how to answer.
func prompt(rate float64, events int) string {
	return fmt.Sprintf("[[bench rate=%g events=%d]] Why is the sky blue?", rate, events)
}
