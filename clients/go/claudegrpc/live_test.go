package claudegrpc_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// The tests here need a gateway, named by CLAUDE_GRPC_TARGET, whose answers are its simulator's.

const liveModel = "claude-opus-5-5"

// weatherTool has spaces and an order of keys of its own, as a caller's schema may.
const weatherTool = `{"type": "object",  "required": ["city"], "properties": {"city": {"type": "string"}}}`

func dialLive(t *testing.T) *claudegrpc.Client {
	t.Helper()
	target := os.Getenv("CLAUDE_GRPC_TARGET")
	if target == "" {
		t.Skip("CLAUDE_GRPC_TARGET names no gateway")
	}
	return dial(t, target)
}

// thinkingParams are parameters of a request that lets Claude think.
func thinkingParams(messages ...*v1.InputMessage) *v1.MessageParams {
	return &v1.MessageParams{
		Model:     liveModel,
		MaxTokens: proto.Int32(4096),
		Thinking: &v1.ThinkingConfig{
			Config: &v1.ThinkingConfig_Enabled{Enabled: &v1.ThinkingEnabled{BudgetTokens: proto.Int32(1024)}},
		},
		Messages: messages,
	}
}

func user(text string) *v1.InputMessage {
	return &v1.InputMessage{Role: v1.Role_ROLE_USER, Text: &text}
}

// finish reads a stream to its end and is the whole message.
func finish(t *testing.T, stream *claudegrpc.Stream) *v1.AssistantMessage {
	t.Helper()
	defer stream.Close()
	for stream.Next() {
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if stream.Final() == nil {
		t.Fatal("the stream ended well, and without the whole message")
	}
	return stream.Final()
}

func ask(t *testing.T, client *claudegrpc.Client, params *v1.MessageParams) *v1.AssistantMessage {
	t.Helper()
	return finish(t, begin(t, client, &v1.StreamMessageRequest{Params: params}))
}

// refused reads a stream that must fail with INVALID_ARGUMENT.
func refused(t *testing.T, stream *claudegrpc.Stream) *claudegrpc.Error {
	t.Helper()
	defer stream.Close()
	for stream.Next() {
	}
	e, ok := claudegrpc.AsError(stream.Err())
	if !ok || e.Code != codes.InvalidArgument {
		t.Fatalf("want InvalidArgument, got %v", stream.Err())
	}
	return e
}

func TestLiveStreamThinksAndAnswers(t *testing.T) {
	client := dialLive(t)
	stream := begin(t, client, &v1.StreamMessageRequest{Params: thinkingParams(user("What is a monad?"))})

	var thought, said strings.Builder
	for stream.Next() {
		thought.WriteString(stream.Thinking())
		said.WriteString(stream.Text())
	}

	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if thought.Len() == 0 || said.Len() == 0 {
		t.Errorf("thinking %q, text %q", &thought, &said)
	}
	var finalThought, finalText string
	for _, block := range stream.Final().GetContent() {
		finalThought += block.GetThinking().GetThinking()
		finalText += block.GetText().GetText()
	}
	if finalThought != thought.String() || finalText != said.String() {
		t.Errorf("the whole message %q, %q is not its pieces %q, %q", finalThought, finalText, &thought, &said)
	}
	if stop := stream.Final().GetStopReason(); stop != v1.StopReason_STOP_REASON_END_TURN {
		t.Errorf("stop reason: %v", stop)
	}
	if usage := stream.Final().GetUsage(); usage.GetInputTokens() == 0 || usage.GetOutputTokens() == 0 {
		t.Errorf("usage: %v", usage)
	}
	if stream.RequestID() == "" {
		t.Error("no request id in the trailers")
	}
}

func TestLiveTenTurnsWithThinkingAndTools(t *testing.T) {
	client := dialLive(t)
	params := thinkingParams()
	params.Tools = []*v1.Tool{{Tool: &v1.Tool_Custom{Custom: &v1.CustomTool{
		Name:            "get_weather",
		Description:     proto.String("The weather in a city."),
		InputSchemaJson: weatherTool,
	}}}}

	for turn := range 10 {
		params.Messages = append(params.Messages, user(fmt.Sprintf("Please use the tool for city %d.", turn)))
		call := ask(t, client, params)
		if call.GetStopReason() != v1.StopReason_STOP_REASON_TOOL_USE {
			t.Fatalf("turn %d: no call of the tool, but %v", turn, call)
		}
		params.Messages = append(params.Messages, claudegrpc.Turn(call), toolResults(call))
		answer := ask(t, client, params)
		if answer.GetStopReason() != v1.StopReason_STOP_REASON_END_TURN {
			t.Fatalf("turn %d: no answer after the tool's, but %v", turn, answer)
		}
		params.Messages = append(params.Messages, claudegrpc.Turn(answer))
		if signatures(call) == 0 {
			t.Errorf("turn %d: no signed thinking before the call: %v", turn, call)
		}
	}
}

// toolResults answers all calls of a turn.
func toolResults(msg *v1.AssistantMessage) *v1.InputMessage {
	results := &v1.InputMessage{Role: v1.Role_ROLE_USER}
	for _, block := range msg.GetContent() {
		if call := block.GetToolUse(); call != nil {
			results.Content = append(results.Content, &v1.ContentBlock{Block: &v1.ContentBlock_ToolResult{
				ToolResult: &v1.ToolResultBlock{ToolUseId: call.GetId(), Text: proto.String("Sunny, 21 °C")},
			}})
		}
	}
	return results
}

// signatures counts the signed thinking blocks of a turn.
func signatures(msg *v1.AssistantMessage) (n int) {
	for _, block := range msg.GetContent() {
		if block.GetThinking().GetSignature() != "" {
			n++
		}
	}
	return n
}

func TestLiveClosingEarlyEndsTheStreamAndNotTheClient(t *testing.T) {
	client := dialLive(t)
	// The simulator begins, and then sends nothing more until its client is gone.
	stream := begin(t, client, &v1.StreamMessageRequest{Params: thinkingParams(user("Hello [[stall]]"))})
	if !stream.Next() {
		t.Fatal(stream.Err())
	}

	stream.Close()
	for stream.Next() {
	}

	if e, ok := claudegrpc.AsError(stream.Err()); !ok || e.Code != codes.Canceled {
		t.Errorf("want Canceled, got %v", stream.Err())
	}
	ask(t, client, thinkingParams(user("Still there?")))
}

func TestLiveBadRequestNamesEveryField(t *testing.T) {
	client := dialLive(t)

	e := refused(t, begin(t, client, &v1.StreamMessageRequest{Params: &v1.MessageParams{MaxTokens: proto.Int32(1)}}))

	fields := map[string]bool{}
	for _, v := range e.Violations {
		fields[v.Field] = true
	}
	if !fields["params.model"] || !fields["params.messages"] {
		t.Errorf("violations: %+v", e.Violations)
	}
}

func TestLiveChangedSignatureIsRefused(t *testing.T) {
	client := dialLive(t)
	question := user("What is a monad?")
	turn := claudegrpc.Turn(proto.CloneOf(ask(t, client, thinkingParams(question))))
	for _, block := range turn.GetContent() {
		if thinking := block.GetThinking(); thinking != nil {
			thinking.Signature = proto.String(thinking.GetSignature() + "A")
		}
	}

	e := refused(t, begin(t, client, &v1.StreamMessageRequest{
		Params: thinkingParams(question, turn, user("And a functor?")),
	}))

	if e.RequestID == "" || e.Metadata["httpStatus"] != "400" {
		t.Errorf("not the API's own refusal: %+v", e)
	}
}

func TestLiveUnaryCalls(t *testing.T) {
	client := dialLive(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	created, err := client.Messages.CreateMessage(ctx, &v1.CreateMessageRequest{Params: thinkingParams(user("Hello"))})
	if err != nil || len(created.GetMessage().GetContent()) == 0 {
		t.Errorf("create: %v, %v", created, err)
	}
	counted, err := client.Messages.CountTokens(ctx, &v1.CountTokensRequest{Params: thinkingParams(user("Hello"))})
	if err != nil || counted.GetInputTokens() == 0 {
		t.Errorf("count: %v, %v", counted, err)
	}
	info, err := client.Gateway.GetServerInfo(ctx, &v1.GetServerInfoRequest{})
	if err != nil || info.GetVersion() == "" {
		t.Errorf("server info: %v, %v", info, err)
	}
}
