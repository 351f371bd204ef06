package claudegrpc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/claude-grpc/claude-grpc/clients/go/claudegrpc"
	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// uploadLive sends content in chunks, then wants it to be of the hash.
func uploadLive(
	ctx context.Context, client *claudegrpc.Client, name string, content []byte, hash [sha256.Size]byte,
) (*v1.FileMetadata, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := client.Files.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	parts := []*v1.UploadFileRequest{{Part: &v1.UploadFileRequest_Header{
		Header: &v1.UploadFileHeader{Filename: name, MimeType: "text/plain", Sha256: hash[:]},
	}}}
	for offset := 0; offset < len(content); offset += 1 << 20 {
		parts = append(parts, &v1.UploadFileRequest{Part: &v1.UploadFileRequest_Chunk{Chunk: &v1.FileChunk{
			Offset: int64(offset),
			Data:   content[offset:min(offset+1<<20, len(content))],
		}}})
	}
	for _, part := range parts {
		if err := call.Send(part); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	response, err := call.CloseAndRecv()
	return response.GetFile(), err
}

// uploaded is a file whose content is of the hash it should be.
func uploaded(ctx context.Context, t *testing.T, client *claudegrpc.Client, name string, content []byte) string {
	t.Helper()
	file, err := uploadLive(ctx, client, name, content, sha256.Sum256(content))
	if err != nil || file.GetSizeBytes() != int64(len(content)) {
		t.Fatalf("upload: %v, %v", file, err)
	}
	return file.GetId()
}

// receive reads a stream to its end.
func receive[T any](t *testing.T, call grpc.ServerStreamingClient[T], err error) (all []*T) {
	t.Helper()
	for err == nil {
		var next *T
		if next, err = call.Recv(); err == nil {
			all = append(all, next)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return all
}

func liveContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// about asks about a file.
func about(fileID, question string) *v1.MessageParams {
	return &v1.MessageParams{
		Model:     liveModel,
		MaxTokens: proto.Int32(1024),
		Messages: []*v1.InputMessage{{Role: v1.Role_ROLE_USER, Content: []*v1.ContentBlock{
			{Block: &v1.ContentBlock_Document{Document: &v1.DocumentBlock{Source: &v1.DocumentSource{
				Source: &v1.DocumentSource_File{File: &v1.FileSource{FileId: fileID}},
			}}}},
			{Block: &v1.ContentBlock_Text{Text: &v1.TextBlock{Text: question}}},
		}}},
	}
}

func TestLiveBatchAsksAboutAnUploadedFile(t *testing.T) {
	client, ctx := dialLive(t), liveContext(t)
	fileID := uploaded(ctx, t, client, "notes.txt", bytes.Repeat([]byte("note "), 300_000))

	answer := ask(t, client, about(fileID, "What is it?"))
	var said strings.Builder
	for _, block := range answer.GetContent() {
		said.WriteString(block.GetText().GetText())
	}
	if !strings.Contains(said.String(), "notes.txt") {
		t.Errorf("an answer that knows nothing of the file: %q", &said)
	}

	id := createLive(ctx, t, client, map[string]string{"good": "Who?", "bad": "[[error 529]]"}, fileID)
	watching, err := client.Batches.WatchMessageBatch(ctx, &v1.WatchMessageBatchRequest{BatchId: id})
	states := receive(t, watching, err)
	if last := states[len(states)-1].GetBatch(); last.GetState() != v1.MessageBatchState_MESSAGE_BATCH_STATE_ENDED {
		t.Errorf("the last state: %v", last)
	}
	results := resultsLive(ctx, t, client, id, 0)
	checkResults(t, results)
	if rest := resultsLive(ctx, t, client, id, 1); len(rest) != 1 || !proto.Equal(rest[0], results[1]) {
		t.Errorf("resumed at 1: %v", rest)
	}
}

// createLive makes a batch of questions by their custom ids, and is its id.
func createLive(
	ctx context.Context, t *testing.T, client *claudegrpc.Client, questions map[string]string, fileID string,
) string {
	t.Helper()
	call, err := client.Batches.CreateMessageBatch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	parts := []*v1.CreateMessageBatchRequest{
		{Part: &v1.CreateMessageBatchRequest_Header{Header: &v1.CreateMessageBatchHeader{}}},
	}
	for id, question := range questions {
		parts = append(parts, &v1.CreateMessageBatchRequest{Part: &v1.CreateMessageBatchRequest_Item{
			Item: &v1.MessageBatchItem{CustomId: id, Params: about(fileID, question)},
		}})
	}
	for _, part := range parts {
		if err := call.Send(part); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	response, err := call.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	return response.GetBatch().GetId()
}

func resultsLive(
	ctx context.Context, t *testing.T, client *claudegrpc.Client, id string, start int64,
) []*v1.StreamMessageBatchResultsResponse {
	t.Helper()
	call, err := client.Batches.StreamMessageBatchResults(
		ctx, &v1.StreamMessageBatchResultsRequest{BatchId: id, StartIndex: start})
	return receive(t, call, err)
}

func checkResults(t *testing.T, results []*v1.StreamMessageBatchResultsResponse) {
	t.Helper()
	if len(results) != 2 {
		t.Fatalf("results: %v", results)
	}
	for i, result := range results {
		if result.GetIndex() != int64(i) {
			t.Errorf("index %d stands at %d", result.GetIndex(), i)
		}
		switch result.GetCustomId() {
		case "good":
			if len(result.GetResult().GetSucceeded().GetMessage().GetContent()) == 0 {
				t.Errorf("no answer: %v", result)
			}
		case "bad":
			if code := result.GetResult().GetErrored().GetStatus().GetCode(); codes.Code(code) != codes.Unavailable {
				t.Errorf("code %v: %v", codes.Code(code), result)
			}
		default:
			t.Errorf("a result of no request: %v", result)
		}
	}
}

func TestLiveUploadOfAnotherHashIsRefused(t *testing.T) {
	client, ctx := dialLive(t), liveContext(t)

	_, err := uploadLive(ctx, client, "a.txt", []byte("not this"), sha256.Sum256([]byte("this")))

	if e, ok := claudegrpc.AsError(err); !ok || len(e.Violations) != 1 || e.Violations[0].Field != "header.sha256" {
		t.Errorf("want a violation of header.sha256, got %+v", e)
	}
}

func TestLiveDownloadGoesOnAtAByte(t *testing.T) {
	client, ctx := dialLive(t), liveContext(t)
	content := bytes.Repeat([]byte("0123456789"), 250_000)
	// The simulator lets a file be fetched whose name says so.
	fileID := uploaded(ctx, t, client, "[[downloadable]].txt", content)

	for _, offset := range []int{0, 1_234_567, len(content)} {
		call, err := client.Files.DownloadFile(ctx, &v1.DownloadFileRequest{FileId: fileID, Offset: int64(offset)})
		parts := receive(t, call, err)
		if parts[0].GetFile().GetId() != fileID {
			t.Errorf("the first part tells of no file, but %v", parts[0])
		}
		var got []byte
		for _, part := range parts[1:] {
			got = append(got, part.GetChunk().GetData()...)
		}
		if !bytes.Equal(got, content[offset:]) {
			t.Errorf("from %d: %d bytes, and not those that were sent", offset, len(got))
		}
	}
}

func TestLiveModelsAndSkillsAreListed(t *testing.T) {
	client, ctx := dialLive(t), liveContext(t)

	models, err := client.Models.ListModels(ctx, &v1.ListModelsRequest{})
	if err != nil || len(models.GetModels()) == 0 {
		t.Errorf("models: %v, %v", models, err)
	}
	if _, err := client.Skills.ListSkills(ctx, &v1.ListSkillsRequest{}); err != nil {
		t.Error(err)
	}
}
