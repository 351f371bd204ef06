package claudegrpc_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
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

func TestCallsThatCreateAreNotRetriedAndAllOthersAre(t *testing.T) {
	for name, c := range map[string]struct {
		want int32
		call func(context.Context, *claudegrpc.Client) error
	}{
		"CreateMessageBatch": {1, func(ctx context.Context, client *claudegrpc.Client) error {
			return closed(client.Batches.CreateMessageBatch(ctx))
		}},
		"UploadFile": {1, func(ctx context.Context, client *claudegrpc.Client) error {
			return closed(client.Files.UploadFile(ctx))
		}},
		"CreateSkill": {1, func(ctx context.Context, client *claudegrpc.Client) error {
			return closed(client.Skills.CreateSkill(ctx))
		}},
		"CreateSkillVersion": {1, func(ctx context.Context, client *claudegrpc.Client) error {
			return closed(client.Skills.CreateSkillVersion(ctx))
		}},
		"GetMessageBatch": {3, func(ctx context.Context, client *claudegrpc.Client) error {
			_, err := client.Batches.GetMessageBatch(ctx, &v1.GetMessageBatchRequest{})
			return err
		}},
		"GetFile": {3, func(ctx context.Context, client *claudegrpc.Client) error {
			_, err := client.Files.GetFile(ctx, &v1.GetFileRequest{})
			return err
		}},
		"GetModel": {3, func(ctx context.Context, client *claudegrpc.Client) error {
			_, err := client.Models.GetModel(ctx, &v1.GetModelRequest{})
			return err
		}},
		"GetSkill": {3, func(ctx context.Context, client *claudegrpc.Client) error {
			_, err := client.Skills.GetSkill(ctx, &v1.GetSkillRequest{})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var attempts atomic.Int32
			client := dialServer(t, grpc.NewServer(grpc.UnknownServiceHandler(
				func(_ any, call grpc.ServerStream) error {
					attempts.Add(1)
					call.SetTrailer(metadata.Pairs("grpc-retry-pushback-ms", "1"))
					return status.Error(codes.Unavailable, "not now")
				},
			)))

			err := c.call(t.Context(), client)

			if status.Code(err) != codes.Unavailable || attempts.Load() != c.want {
				t.Errorf("%d attempts, then: %v", attempts.Load(), err)
			}
		})
	}
}

// closed ends an upload that has nothing in it.
func closed[Req, Res any](call grpc.ClientStreamingClient[Req, Res], err error) error {
	if err != nil {
		return err
	}
	_, err = call.CloseAndRecv()
	return err
}

func TestCallsWithoutADeadlineHaveTheirMethodsTime(t *testing.T) {
	var left time.Duration
	client := dialServer(t, grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, call grpc.ServerStream) error {
		if deadline, ok := call.Context().Deadline(); ok {
			left = time.Until(deadline)
		}
		return status.Error(codes.NotFound, "no such model")
	})))

	if _, err := client.Models.GetModel(context.Background(), &v1.GetModelRequest{}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}

	if left < 500*time.Second || left > 600*time.Second {
		t.Errorf("%v are left", left)
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
