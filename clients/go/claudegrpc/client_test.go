package claudegrpc_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestDialWithoutCredentialsFails(t *testing.T) {
	if _, err := claudegrpc.Dial("127.0.0.1:50051"); err == nil {
		t.Error("a connection without a word about its security")
	}
}

func TestMessagesOverGRPCsDefaultLimitArrive(t *testing.T) {
	large := strings.Repeat("x", 20<<20)
	client := dialFake(t, func(req *v1.StreamMessageRequest, out serverStream) error {
		return send(out, text(req.GetParams().GetSystemText()))
	})

	stream := begin(t, client, &v1.StreamMessageRequest{Params: &v1.MessageParams{SystemText: proto.String(large)}})

	if !stream.Next() || stream.Text() != large {
		t.Errorf("no event, or another: %v", stream.Err())
	}
}

func TestLargeRequestsAreRetried(t *testing.T) {
	var attempts atomic.Int32
	client := dialFake(t, func(*v1.StreamMessageRequest, serverStream) error {
		if attempts.Add(1) == 1 {
			return status.Error(codes.Unavailable, "not now")
		}
		return nil
	})

	large := strings.Repeat("x", 1<<20)
	stream := begin(t, client, &v1.StreamMessageRequest{Params: &v1.MessageParams{SystemText: &large}})

	if stream.Next() || stream.Err() != nil || attempts.Load() != 2 {
		t.Errorf("%d attempts, then: %v", attempts.Load(), stream.Err())
	}
}

func TestPushbackForbidsTheRetry(t *testing.T) {
	var attempts atomic.Int32
	client := dialFake(t, func(_ *v1.StreamMessageRequest, out serverStream) error {
		attempts.Add(1)
		out.SetTrailer(metadata.Pairs("grpc-retry-pushback-ms", "-1"))
		return status.Error(codes.Unavailable, "it may have been billed")
	})

	stream := begin(t, client, &v1.StreamMessageRequest{})

	if stream.Next() || status.Code(stream.Err()) != codes.Unavailable || attempts.Load() != 1 {
		t.Errorf("%d attempts, then: %v", attempts.Load(), stream.Err())
	}
}

func TestErrorAfterTheLastRetryKeepsItsDetails(t *testing.T) {
	overloaded := statusError(t, codes.Unavailable, "Overloaded", &errdetails.ErrorInfo{Reason: "OVERLOADED"})
	client := dialFake(t, func(_ *v1.StreamMessageRequest, out serverStream) error {
		out.SetTrailer(metadata.Pairs("grpc-retry-pushback-ms", "1"))
		return overloaded
	})

	stream := begin(t, client, &v1.StreamMessageRequest{})

	if stream.Next() {
		t.Error("an event from nowhere")
	}
	e, ok := claudegrpc.AsError(stream.Err())
	if !ok || e.Code != codes.Unavailable || e.Reason != "OVERLOADED" || e.Message != "Overloaded" {
		t.Errorf("after the retries: %v", stream.Err())
	}
}
