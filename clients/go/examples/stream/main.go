// Stream asks Claude a question through a gateway and prints the answer as it is written, thinking dimmed.
//
//	go run ./examples/stream -thinking 2048 "Why is the sky blue?"
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

const (
	answerTokens = 4096

	dim   = "\x1b[2m"
	reset = "\x1b[0m"
)

func main() {
	target := flag.String("target", "127.0.0.1:50051", "`host:port` of the gateway")
	model := flag.String("model", "claude-opus-5-5", "who answers")
	thinking := flag.Int("thinking", 0, "most `tokens` for thinking, 1024 or more; 0 for none")
	flag.Parse()

	// Ctrl-C ends the stream at the Claude API, too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := ask(ctx, *target, params(*model, int32(*thinking), strings.Join(flag.Args(), " "))); err != nil {
		explain(err)
		os.Exit(1)
	}
}

func params(model string, thinking int32, question string) *v1.MessageParams {
	p := &v1.MessageParams{
		Model:     model,
		MaxTokens: proto.Int32(answerTokens + thinking),
		Messages:  []*v1.InputMessage{{Role: v1.Role_ROLE_USER, Text: &question}},
	}
	if thinking > 0 {
		p.Thinking = &v1.ThinkingConfig{
			Config: &v1.ThinkingConfig_Enabled{Enabled: &v1.ThinkingEnabled{BudgetTokens: &thinking}},
		}
	}
	return p
}

func ask(ctx context.Context, target string, params *v1.MessageParams) error {
	// A gateway on another host has a certificate: use credentials.NewTLS for it.
	client, err := claudegrpc.Dial(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer client.Close()

	stream, err := client.Stream(ctx, &v1.StreamMessageRequest{Params: params})
	if err != nil {
		return err
	}
	defer stream.Close()

	for stream.Next() {
		if thought := stream.Thinking(); thought != "" {
			fmt.Print(dim, thought, reset)
		}
		if stream.Event().GetContentBlockStop() != nil {
			fmt.Print("\n\n")
		}
		fmt.Print(stream.Text())
	}
	if err := stream.Err(); err != nil {
		return err
	}
	usage := stream.Final().GetUsage()
	fmt.Printf("%d tokens in, %d out, %s\n", usage.GetInputTokens(), usage.GetOutputTokens(), stream.RequestID())
	return nil
}

// explain prints what the gateway says about a failed call.
func explain(err error) {
	e, ok := claudegrpc.AsError(err)
	if !ok {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Fprintln(os.Stderr, e)
	for _, violation := range e.Violations {
		fmt.Fprintf(os.Stderr, "  %s: %s\n", violation.Field, violation.Description)
	}
	if e.RequestID != "" {
		fmt.Fprintln(os.Stderr, "  request", e.RequestID)
	}
}
