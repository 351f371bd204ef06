package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// httpAPI calls what has the Claude API's own form: the upstream itself, and peers.
type httpAPI struct {
	client  http.Client
	url     string
	headers headers
	model   string
	image   string
}

func newHTTP(o options) *httpAPI {
	return &httpAPI{
		client:  http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}},
		url:     strings.TrimSuffix(o.target, "/") + "/v1/messages",
		headers: o.headers,
		model:   o.model,
		image:   strings.Repeat("A", imageBytes/3*4),
	}
}

func (h *httpAPI) stream(ctx context.Context, prompt string, read func([]byte)) error {
	response, err := h.post(ctx, fmt.Sprintf(`"stream":true,"messages":[{"role":"user","content":"%s"}]`, prompt))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	buffer := make([]byte, 64<<10)
	tail := ""
	for {
		n, err := response.Body.Read(buffer)
		if n > 0 {
			read(buffer[:n])
			tail = string(buffer[max(0, n-len(lastEvent)-8):n])
		}
		if errors.Is(err, io.EOF) && strings.Contains(tail, lastEvent) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

const lastEvent = `message_stop"}`

func (h *httpAPI) create(ctx context.Context, prompt string) error {
	return h.createMessage(ctx, fmt.Sprintf(`"messages":[{"role":"user","content":"%s"}]`, prompt))
}

func (h *httpAPI) createWithImage(ctx context.Context, prompt string) error {
	const content = `{"type":"text","text":"%s"},` +
		`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"%s"}}`
	return h.createMessage(ctx, fmt.Sprintf(`"messages":[{"role":"user","content":[`+content+`]}]`, prompt, h.image))
}

func (h *httpAPI) createMessage(ctx context.Context, members string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	response, err := h.post(ctx, members)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Contains(body, []byte("Because air")) {
		return errors.New("the answer has no content")
	}
	return err
}

func (h *httpAPI) post(ctx context.Context, members string) (*http.Response, error) {
	body := fmt.Sprintf(`{"model":"%s","max_tokens":%d,%s}`, h.model, maxTokens, members)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("anthropic-version", "2023-06-01")
	for _, header := range h.headers {
		request.Header.Set(header[0], header[1])
	}
	response, err := h.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s", response.Status, text)
	}
	return response, nil
}
