package claudegrpc

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is what the gateway says about a call that failed.
type Error struct {
	Code    codes.Code
	Message string
	// Reason is one word for a program, such as OVERLOADED; empty if the call did not reach the gateway.
	Reason string
	// RequestID is the Claude API's id of the request, empty if it did not get there.
	RequestID string
	// RetryDelay is how long to wait before a retry; zero if nothing is said about it.
	RetryDelay time.Duration
	// Partial says that the stream had begun: what came is part of a turn, and is billed.
	Partial bool
	// SafeToRetry says that the request can be sent again without being done, or billed, twice.
	SafeToRetry bool
	// Violations are all that is wrong with the request.
	Violations []Violation
	// Metadata is the rest, as the gateway spells it: httpStatus, errorType, attempts …
	Metadata map[string]string

	status *status.Status
}

// Violation is one thing wrong with a request.
type Violation struct {
	// Field is a path, such as params.messages[0].content[2].text.
	Field string
	// Description says what would be right.
	Description string
}

// AsError decodes the error of an RPC, wrapped or not. It is false for nil and for errors that are not gRPC's.
func AsError(err error) (*Error, bool) {
	var carrier interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &carrier) {
		return nil, false
	}
	st := carrier.GRPCStatus()
	e := &Error{Code: st.Code(), Message: st.Message(), status: st}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = d.GetReason()
			e.Metadata = d.GetMetadata()
			e.RequestID = e.Metadata["requestId"]
			e.Partial = e.Metadata["partial"] == "true"
			e.SafeToRetry = e.Metadata["safeToRetry"] == "true"
		case *errdetails.RetryInfo:
			e.RetryDelay = d.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Violations = append(e.Violations, Violation{v.GetField(), v.GetDescription()})
			}
		}
	}
	return e, true
}

// Error is the code, the reason and the message in a line.
func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%s (%s): %s", e.Code, e.Reason, e.Message)
}

// GRPCStatus is the status the error was decoded from, so that package status understands an Error, too.
func (e *Error) GRPCStatus() *status.Status { return e.status }
