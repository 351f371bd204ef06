package claudegrpc_test

import (
	"strings"
	"testing"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestStreamYieldsEventsThenTheWholeMessage(t *testing.T) {
	want := &v1.AssistantMessage{Id: "msg_1", Model: "a-model"}
	client := dialFake(t, func(_ *v1.StreamMessageRequest, out serverStream) error {
		out.SetTrailer(metadata.Pairs("request-id", "req_1"))
		return send(out, thinking("Hm"), thinking("."), text("Hello"), text(" you"), messageStop(want))
	})

	stream := begin(t, client, &v1.StreamMessageRequest{})
	var types []string
	var thought, said strings.Builder
	for stream.Next() {
		types = append(types, stream.Event().GetType())
		thought.WriteString(stream.Thinking())
		said.WriteString(stream.Text())
		if id := stream.RequestID(); id != "" {
			t.Errorf("request id before the end: %q", id)
		}
	}

	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(types) != 5 || types[4] != "message_stop" {
		t.Errorf("events: %q", types)
	}
	if thought.String() != "Hm." || said.String() != "Hello you" {
		t.Errorf("thinking %q, text %q", &thought, &said)
	}
	if !proto.Equal(stream.Final(), want) {
		t.Errorf("final message: %v", stream.Final())
	}
	if stream.RequestID() != "req_1" {
		t.Errorf("request id: %q", stream.RequestID())
	}
	if stream.Next() || stream.Event() != nil {
		t.Error("the stream goes on after its end")
	}
}

func TestStreamAsksForTheWholeMessageAndLeavesTheRequestAlone(t *testing.T) {
	got := make(chan *v1.StreamMessageRequest, 1)
	client := dialFake(t, func(req *v1.StreamMessageRequest, _ serverStream) error {
		got <- req
		return nil
	})

	req := &v1.StreamMessageRequest{Params: &v1.MessageParams{Model: "a-model"}, Betas: []string{"b-1"}}
	begin(t, client, req).Next()

	want := proto.CloneOf(req)
	want.StreamOptions = &v1.StreamOptions{IncludeFinalMessage: true}
	if sent := <-got; !proto.Equal(sent, want) {
		t.Errorf("sent: %v", sent)
	}
	if req.StreamOptions != nil {
		t.Errorf("the caller's request has been changed: %v", req)
	}
}

func TestCloseCancelsTheCall(t *testing.T) {
	cancelled := make(chan struct{})
	client := dialFake(t, func(_ *v1.StreamMessageRequest, out serverStream) error {
		if err := send(out, text("Hello")); err != nil {
			return err
		}
		<-out.Context().Done()
		close(cancelled)
		return out.Context().Err()
	})

	stream := begin(t, client, &v1.StreamMessageRequest{})
	if !stream.Next() {
		t.Fatal(stream.Err())
	}
	stream.Close()
	stream.Close()

	<-cancelled
	if err := stream.Err(); err != nil {
		t.Errorf("closing is no error, but: %v", err)
	}
	if stream.Next() || status.Code(stream.Err()) != codes.Canceled {
		t.Errorf("reading on gave %v", stream.Err())
	}
}

func TestErrorAfterEventsLeavesThemValid(t *testing.T) {
	client := dialFake(t, func(_ *v1.StreamMessageRequest, out serverStream) error {
		out.SetTrailer(metadata.Pairs("request-id", "req_1"))
		if err := send(out, text("Hel")); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "Overloaded")
	})

	stream := begin(t, client, &v1.StreamMessageRequest{})
	if !stream.Next() || stream.Text() != "Hel" {
		t.Fatalf("no event before the error: %v", stream.Err())
	}
	if stream.Next() || status.Code(stream.Err()) != codes.Unavailable {
		t.Errorf("end: %v", stream.Err())
	}
	if stream.Final() != nil || stream.RequestID() != "req_1" {
		t.Errorf("final %v, request id %q", stream.Final(), stream.RequestID())
	}
}

func TestTurnSendsBackEveryBlock(t *testing.T) {
	msg := &v1.AssistantMessage{Role: v1.Role_ROLE_ASSISTANT, Content: []*v1.ContentBlock{
		{Type: "thinking", Block: &v1.ContentBlock_Thinking{
			Thinking: &v1.ThinkingBlock{Thinking: "Hm.", Signature: proto.String("sig")},
		}},
		{Type: "news", Block: &v1.ContentBlock_OpaqueJson{OpaqueJson: `{"type":"news", "n":1.0}`}},
	}}

	turn := claudegrpc.Turn(msg)

	if want := (&v1.InputMessage{Role: msg.Role, Content: msg.Content}); !proto.Equal(turn, want) {
		t.Errorf("turn: %v", turn)
	}
}
