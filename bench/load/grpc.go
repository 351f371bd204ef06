package main

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// grpcAPI calls a gateway through the stubs, over several connections in turn.
type grpcAPI struct {
	clients []*claudegrpc.Client
	calls   atomic.Uint32
	model   string
	window  *durationpb.Duration
	image   []byte
}

func dialGRPC(host string, o options) (*grpcAPI, error) {
	g := &grpcAPI{model: o.model, image: make([]byte, imageBytes)}
	if o.mergeWindow > 0 {
		g.window = durationpb.New(o.mergeWindow)
	}
	for range max(1, min(o.connections, o.streams+o.inflight)) {
		client, err := claudegrpc.Dial("passthrough:///"+host,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
		if err != nil {
			return nil, err
		}
		g.clients = append(g.clients, client)
	}
	return g, nil
}

func (g *grpcAPI) stream(ctx context.Context, prompt string, read func([]byte)) error {
	request := &v1.StreamMessageRequest{Params: g.params(prompt)}
	if g.window != nil {
		request.StreamOptions = &v1.StreamOptions{Window: g.window}
	}
	// Not the client's own Stream: it asks for the whole message besides, which the other targets do not send.
	rpc, err := g.client().StreamMessage(ctx, request)
	if err != nil {
		return err
	}
	stopped := false
	for {
		event, err := rpc.Recv()
		if errors.Is(err, io.EOF) && stopped {
			return nil
		}
		if err != nil {
			return err
		}
		delta := event.GetContentBlockDelta().GetDelta()
		read([]byte(delta.GetTextDelta().GetText() + delta.GetThinkingDelta().GetThinking()))
		stopped = event.GetMessageStop() != nil
	}
}

func (g *grpcAPI) create(ctx context.Context, prompt string) error {
	return g.createMessage(ctx, g.params(prompt))
}

func (g *grpcAPI) createWithImage(ctx context.Context, prompt string) error {
	params := g.params("")
	params.Messages[0].Text = nil
	params.Messages[0].Content = []*v1.ContentBlock{
		{Block: &v1.ContentBlock_Text{Text: &v1.TextBlock{Text: prompt}}},
		{Block: &v1.ContentBlock_Image{Image: &v1.ImageBlock{Source: &v1.ImageSource{
			Source: &v1.ImageSource_Base64{Base64: &v1.Base64Source{MediaType: "image/png", Data: g.image}},
		}}}},
	}
	return g.createMessage(ctx, params)
}

func (g *grpcAPI) createMessage(ctx context.Context, params *v1.MessageParams) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	response, err := g.client().CreateMessage(ctx, &v1.CreateMessageRequest{Params: params})
	if err == nil && len(response.GetMessage().GetContent()) == 0 {
		return errors.New("the answer has no content")
	}
	return err
}

func (g *grpcAPI) client() v1.MessagesServiceClient {
	return g.clients[int(g.calls.Add(1))%len(g.clients)].Messages
}

func (g *grpcAPI) params(prompt string) *v1.MessageParams {
	return &v1.MessageParams{
		Model:     g.model,
		MaxTokens: proto.Int32(maxTokens),
		Messages:  []*v1.InputMessage{{Role: v1.Role_ROLE_USER, Text: &prompt}},
	}
}
