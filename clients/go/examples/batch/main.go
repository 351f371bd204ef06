// Batch uploads a file, asks Claude about it through a gateway, and has more questions answered as a batch.
//
//	go run ./examples/batch report.pdf "What is it about?" "Who wrote it?" "What does it leave open?"
//
// The first question is answered at once, all others at leisure, for half the price.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

const (
	answerTokens = 4096
	// chunkBytes is the most that the gateway takes at once.
	chunkBytes = 1 << 20
)

func main() {
	target := flag.String("target", "127.0.0.1:50051", "`host:port` of the gateway")
	model := flag.String("model", "claude-opus-5-5", "who answers")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: batch [flags] FILE QUESTION QUESTION...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 3 {
		flag.Usage()
		os.Exit(2)
	}

	// Ctrl-C ends the calls; a batch that was created goes on at the Claude API.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *target, *model, flag.Arg(0), flag.Args()[1:]); err != nil {
		explain(err)
		os.Exit(1)
	}
}

func run(ctx context.Context, target, model, path string, questions []string) error {
	// A gateway on another host has a certificate: use credentials.NewTLS for it.
	client, err := claudegrpc.Dial(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer client.Close()

	file, err := upload(ctx, client, path)
	if err != nil {
		return err
	}
	fmt.Printf("uploaded %s: %s, %d bytes\n\n", file.GetId(), file.GetMimeType(), file.GetSizeBytes())
	if err := ask(ctx, client, params(model, file.GetId(), questions[0])); err != nil {
		return err
	}
	items := make([]*v1.MessageBatchItem, 0, len(questions)-1)
	for i, question := range questions[1:] {
		items = append(items, &v1.MessageBatchItem{
			CustomId: fmt.Sprintf("question-%d", i+2),
			Params:   params(model, file.GetId(), question),
		})
	}
	batch, err := create(ctx, client, items)
	if err != nil {
		return err
	}
	if err := watch(ctx, client, batch.GetId()); err != nil {
		return err
	}
	if err := printResults(ctx, client, batch.GetId()); err != nil {
		return err
	}
	_, err = client.Files.DeleteFile(ctx, &v1.DeleteFileRequest{FileId: file.GetId()})
	return err
}

// params ask about a file that was uploaded.
func params(model, fileID, question string) *v1.MessageParams {
	return &v1.MessageParams{
		Model:     model,
		MaxTokens: proto.Int32(answerTokens),
		Messages: []*v1.InputMessage{{Role: v1.Role_ROLE_USER, Content: []*v1.ContentBlock{
			{Block: &v1.ContentBlock_Document{Document: &v1.DocumentBlock{Source: &v1.DocumentSource{
				Source: &v1.DocumentSource_File{File: &v1.FileSource{FileId: fileID}},
			}}}},
			{Block: &v1.ContentBlock_Text{Text: &v1.TextBlock{Text: question}}},
		}}},
	}
}

// upload sends a file in chunks, so that it may be larger than memory. The gateway refuses it if size or hash differ.
func upload(ctx context.Context, client *claudegrpc.Client, path string) (*v1.FileMetadata, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	header, err := describe(file)
	if err != nil {
		return nil, err
	}

	// A call that is left before CloseAndRecv must be cancelled; no file comes of it then.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := client.Files.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	err = call.Send(&v1.UploadFileRequest{Part: &v1.UploadFileRequest_Header{Header: header}})
	for offset := int64(0); err == nil; {
		// A new one each time, for gRPC may still hold the last to send it again.
		data := make([]byte, chunkBytes)
		n, readErr := io.ReadFull(file, data)
		if n > 0 {
			err = call.Send(&v1.UploadFileRequest{Part: &v1.UploadFileRequest_Chunk{
				Chunk: &v1.FileChunk{Offset: offset, Data: data[:n]},
			}})
			offset += int64(n)
		}
		if errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF) {
			break
		}
		if readErr != nil {
			return nil, readErr
		}
	}
	// io.EOF of Send says that the call has ended; CloseAndRecv says why.
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	response, err := call.CloseAndRecv()
	return response.GetFile(), err
}

// describe reads a file once to know its type, size and hash, and goes back to its beginning.
func describe(file *os.File) (*v1.UploadFileHeader, error) {
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return nil, err
	}
	start := make([]byte, 512)
	n, err := file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	mimeType, _, _ := strings.Cut(http.DetectContentType(start[:n]), ";")
	return &v1.UploadFileHeader{
		Filename:  filepath.Base(file.Name()),
		MimeType:  mimeType,
		SizeBytes: &size,
		Sha256:    hash.Sum(nil),
	}, nil
}

// ask prints the answer as it is written.
func ask(ctx context.Context, client *claudegrpc.Client, params *v1.MessageParams) error {
	stream, err := client.Stream(ctx, &v1.StreamMessageRequest{Params: params})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Next() {
		fmt.Print(stream.Text())
	}
	if err := stream.Err(); err != nil {
		return err
	}
	fmt.Print("\n\n")
	return nil
}

// create sends a batch item by item. The batch is created with the last of them, as a whole or not at all.
func create(ctx context.Context, client *claudegrpc.Client, items []*v1.MessageBatchItem) (*v1.MessageBatch, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := client.Batches.CreateMessageBatch(ctx)
	if err != nil {
		return nil, err
	}
	err = call.Send(&v1.CreateMessageBatchRequest{
		Part: &v1.CreateMessageBatchRequest_Header{Header: &v1.CreateMessageBatchHeader{}},
	})
	for i := 0; err == nil && i < len(items); i++ {
		err = call.Send(&v1.CreateMessageBatchRequest{Part: &v1.CreateMessageBatchRequest_Item{Item: items[i]}})
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	response, err := call.CloseAndRecv()
	return response.GetBatch(), err
}

// watch prints each state of a batch until it has ended. It can be called again after a broken connection.
func watch(ctx context.Context, client *claudegrpc.Client, id string) error {
	call, err := client.Batches.WatchMessageBatch(ctx, &v1.WatchMessageBatchRequest{BatchId: id})
	if err != nil {
		return err
	}
	for {
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch := response.GetBatch()
		counts := batch.GetRequestCounts()
		fmt.Printf("%s %s: %d processing, %d succeeded, %d errored\n",
			id, batch.GetStateRaw(), counts.GetProcessing(), counts.GetSucceeded(), counts.GetErrored())
	}
}

// printResults prints what became of each request, in the API's order. After a broken connection a new call may go on
// with StartIndex, one above the last index seen.
func printResults(ctx context.Context, client *claudegrpc.Client, id string) error {
	call, err := client.Batches.StreamMessageBatchResults(ctx, &v1.StreamMessageBatchResultsRequest{BatchId: id})
	if err != nil {
		return err
	}
	for {
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("\n%s %s\n", response.GetCustomId(), response.GetResult().GetType())
		for _, block := range response.GetResult().GetSucceeded().GetMessage().GetContent() {
			fmt.Print(block.GetText().GetText())
		}
		// An errored result has the status that the same request would have ended with on its own.
		fmt.Println(response.GetResult().GetErrored().GetStatus().GetMessage())
	}
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
