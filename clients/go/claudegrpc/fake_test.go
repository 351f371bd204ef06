package claudegrpc_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

type serverStream = grpc.ServerStreamingServer[v1.StreamMessageResponse]

// fakeGateway answers StreamMessage with a function of the test's.
type fakeGateway struct {
	v1.UnimplementedMessagesServiceServer
	stream func(*v1.StreamMessageRequest, serverStream) error
}

func (f *fakeGateway) StreamMessage(req *v1.StreamMessageRequest, out serverStream) error {
	return f.stream(req, out)
}

// dialFake is a client of a gateway that lives as long as the test.
func dialFake(t *testing.T, stream func(*v1.StreamMessageRequest, serverStream) error) *claudegrpc.Client {
	t.Helper()
	server := grpc.NewServer(grpc.MaxRecvMsgSize(40 << 20))
	v1.RegisterMessagesServiceServer(server, &fakeGateway{stream: stream})
	return dialServer(t, server)
}

// dialServer is a client of a server that is run as long as the test.
func dialServer(t *testing.T, server *grpc.Server) *claudegrpc.Client {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return dial(t, "passthrough:///fake", grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) },
	))
}

// dial is a client without transport security, closed at the end of the test.
func dial(t *testing.T, target string, opts ...grpc.DialOption) *claudegrpc.Client {
	t.Helper()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	client, err := claudegrpc.Dial(target, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// begin starts a stream that ends with the test, at the latest.
func begin(t *testing.T, client *claudegrpc.Client, req *v1.StreamMessageRequest) *claudegrpc.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := client.Stream(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stream.Close)
	return stream
}

func delta(piece *v1.BlockDelta) *v1.StreamMessageResponse {
	return &v1.StreamMessageResponse{
		Type: "content_block_delta",
		Event: &v1.StreamMessageResponse_ContentBlockDelta{
			ContentBlockDelta: &v1.ContentBlockDelta{Delta: piece},
		},
	}
}

func text(piece string) *v1.StreamMessageResponse {
	return delta(&v1.BlockDelta{
		Type:  "text_delta",
		Delta: &v1.BlockDelta_TextDelta{TextDelta: &v1.TextDelta{Text: piece}},
	})
}

func thinking(piece string) *v1.StreamMessageResponse {
	return delta(&v1.BlockDelta{
		Type:  "thinking_delta",
		Delta: &v1.BlockDelta_ThinkingDelta{ThinkingDelta: &v1.ThinkingDelta{Thinking: piece}},
	})
}

func messageStop(msg *v1.AssistantMessage) *v1.StreamMessageResponse {
	return &v1.StreamMessageResponse{
		Type:  "message_stop",
		Event: &v1.StreamMessageResponse_MessageStop{MessageStop: &v1.MessageStop{Message: msg}},
	}
}

// send writes events until one fails.
func send(out serverStream, events ...*v1.StreamMessageResponse) error {
	for _, event := range events {
		if err := out.Send(event); err != nil {
			return err
		}
	}
	return nil
}
