package claudegrpc_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

func statusError(t *testing.T, code codes.Code, message string, details ...protoadapt.MessageV1) error {
	t.Helper()
	st, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestAsErrorReadsWhatTheGatewaySaysOfAnOverload(t *testing.T) {
	facts := map[string]string{
		"requestId": "req_1", "httpStatus": "529", "partial": "true", "safeToRetry": "false",
	}
	err := fmt.Errorf("asking: %w", statusError(t, codes.Unavailable, "Overloaded",
		&errdetails.ErrorInfo{Reason: "OVERLOADED", Metadata: facts},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	))

	e, ok := claudegrpc.AsError(err)

	if !ok {
		t.Fatal("not decoded")
	}
	if e.Code != codes.Unavailable || e.Reason != "OVERLOADED" || e.Message != "Overloaded" || e.RequestID != "req_1" {
		t.Errorf("%+v", e)
	}
	if e.RetryDelay != 1500*time.Millisecond || !e.Partial || e.SafeToRetry || !maps.Equal(e.Metadata, facts) {
		t.Errorf("%+v", e)
	}
	if got := e.Error(); got != "Unavailable (OVERLOADED): Overloaded" {
		t.Error(got)
	}
	if status.Code(e) != codes.Unavailable {
		t.Errorf("package status takes it for %v", status.Code(e))
	}
}

func TestAsErrorReadsAllViolations(t *testing.T) {
	err := statusError(t, codes.InvalidArgument, "Invalid request",
		&errdetails.ErrorInfo{Reason: "INVALID_REQUEST", Metadata: map[string]string{"safeToRetry": "true"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "params.model", Description: "must be set"},
			{Field: "params.messages", Description: "must not be empty"},
		}},
	)

	e, ok := claudegrpc.AsError(err)

	want := []claudegrpc.Violation{
		{Field: "params.model", Description: "must be set"},
		{Field: "params.messages", Description: "must not be empty"},
	}
	if !ok || !slices.Equal(e.Violations, want) || !e.SafeToRetry || e.Partial {
		t.Errorf("%+v", e)
	}
}

func TestAsErrorReadsAStatusWithoutDetails(t *testing.T) {
	e, ok := claudegrpc.AsError(status.Error(codes.Unavailable, "connection refused"))

	if !ok || e.Code != codes.Unavailable || e.Reason != "" || e.SafeToRetry {
		t.Errorf("%+v", e)
	}
	if got := e.Error(); got != "Unavailable: connection refused" {
		t.Error(got)
	}
}

func TestAsErrorLeavesOtherErrorsAlone(t *testing.T) {
	for _, err := range []error{nil, errors.New("disk full")} {
		if e, ok := claudegrpc.AsError(err); ok {
			t.Errorf("%v decoded as %+v", err, e)
		}
	}
}
