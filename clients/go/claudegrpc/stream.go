package claudegrpc

import (
	"context"
	"errors"
	"io"

	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Stream is Claude's turn as it is written. One goroutine reads it; any may close it.
//
//	for stream.Next() {
//		fmt.Print(stream.Text())
//	}
//	if err := stream.Err(); err != nil { … }
type Stream struct {
	rpc    grpc.ServerStreamingClient[v1.StreamMessageResponse]
	cancel context.CancelFunc
	event  *v1.StreamMessageResponse
	final  *v1.AssistantMessage
	ended  bool
	err    error
}

// Stream begins a turn. The caller must Close the stream, or read it to its end.
//
// A copy of req is sent that also asks for the whole message at the end; see [Stream.Final].
func (c *Client) Stream(
	ctx context.Context, req *v1.StreamMessageRequest, opts ...grpc.CallOption,
) (*Stream, error) {
	req = proto.CloneOf(req)
	if req.StreamOptions == nil {
		req.StreamOptions = &v1.StreamOptions{}
	}
	req.StreamOptions.IncludeFinalMessage = true
	ctx, cancel := context.WithCancel(ctx)
	rpc, err := c.Messages.StreamMessage(ctx, req, opts...)
	if err != nil {
		cancel()
		return nil, err
	}
	return &Stream{rpc: rpc, cancel: cancel}, nil
}

// Next waits for the next event. It returns false when the turn is whole, or at an error; then see [Stream.Err].
func (s *Stream) Next() bool {
	if s.ended {
		return false
	}
	event, err := s.rpc.Recv()
	if err != nil {
		s.ended = true
		s.event = nil
		s.cancel()
		if !errors.Is(err, io.EOF) {
			s.err = err
		}
		return false
	}
	s.event = event
	if stop := event.GetMessageStop(); stop != nil {
		s.final = stop.GetMessage()
	}
	return true
}

// Event is the event that Next came to.
func (s *Stream) Event() *v1.StreamMessageResponse { return s.event }

// Text is the piece of text in the event, empty in events that have none.
func (s *Stream) Text() string {
	return s.event.GetContentBlockDelta().GetDelta().GetTextDelta().GetText()
}

// Thinking is the piece of thinking in the event, empty in events that have none.
func (s *Stream) Thinking() string {
	return s.event.GetContentBlockDelta().GetDelta().GetThinkingDelta().GetThinking()
}

// Final is the whole message, put together by the gateway; nil until the turn is whole.
func (s *Stream) Final() *v1.AssistantMessage { return s.final }

// RequestID is the Claude API's id of the request; empty until Next has returned false.
func (s *Stream) RequestID() string {
	if !s.ended {
		return ""
	}
	if ids := s.rpc.Trailer().Get("request-id"); len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// Err is what ended the stream; nil if the turn is whole. Events that came before it stay valid.
func (s *Stream) Err() error { return s.err }

// Close ends the stream, here and at the Claude API. It may be called early, late and twice.
func (s *Stream) Close() { s.cancel() }
