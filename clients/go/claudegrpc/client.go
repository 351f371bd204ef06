// Package claudegrpc calls Claude through a claude-grpc gateway.
//
// It adds to the stubs in [v1] what every caller would write again: channel options that fit the gateway, a stream that
// reads like a [bufio.Scanner], decoded errors and the turn that goes back. All RPCs stay reachable through the stubs.
package claudegrpc

import (
	_ "embed"
	"time"

	v1 "github.com/claude-grpc/claude-grpc/clients/go/claudegrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// maxMessageBytes is the gateway's own limit of a request. grpc-go would receive 4 MiB and retry requests of 256 KiB at
// most; what it sends it does not limit, so that the gateway's limit is the only one.
const maxMessageBytes = 40 << 20

// serviceConfig says how long each method may take, and retries calls that the gateway could not take. It says itself, as
// pushback, when a retry is unsafe.
//
// Calls that create something are not retried: where the connection broke, they may have done so.
//
//go:embed service_config.json
var serviceConfig string

// Client is a connection to a gateway. It is safe for concurrent use.
type Client struct {
	// Messages creates, streams and counts. For streams prefer [Client.Stream].
	Messages v1.MessagesServiceClient
	// Batches makes many messages at leisure, for half the price.
	Batches v1.BatchesServiceClient
	// Files uploads what messages name, and downloads what tools have made.
	Files v1.FilesServiceClient
	// Models tells which models there are.
	Models v1.ModelsServiceClient
	// Skills keeps skills and their versions.
	Skills v1.SkillsServiceClient
	// Gateway tells about the gateway itself.
	Gateway v1.GatewayServiceClient

	conn *grpc.ClientConn
}

// Dial makes a client for target, such as "dns:///gateway:50051". It connects with the first call.
//
// As with [grpc.NewClient], opts must say how the connection is secured: [grpc.WithTransportCredentials] with TLS, or with
// insecure credentials where the network is trusted. Options override those that Dial sets itself.
func Dial(target string, opts ...grpc.DialOption) (*Client, error) {
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes),
			grpc.MaxRetryRPCBufferSize(maxMessageBytes),
		),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// The gateway permits a ping every 10 seconds, also while no call runs.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                30 * time.Second,
			Timeout:             10 * time.Second,
			PermitWithoutStream: true,
		}),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	return &Client{
		Messages: v1.NewMessagesServiceClient(conn),
		Batches:  v1.NewBatchesServiceClient(conn),
		Files:    v1.NewFilesServiceClient(conn),
		Models:   v1.NewModelsServiceClient(conn),
		Skills:   v1.NewSkillsServiceClient(conn),
		Gateway:  v1.NewGatewayServiceClient(conn),
		conn:     conn,
	}, nil
}

// Close ends the connection and all calls on it.
func (c *Client) Close() error { return c.conn.Close() }

// Turn is msg as the next request sends it back: all blocks in order, thinking and signatures included. The blocks are
// shared with msg and must not be changed.
func Turn(msg *v1.AssistantMessage) *v1.InputMessage {
	return &v1.InputMessage{Role: v1.Role_ROLE_ASSISTANT, Content: msg.GetContent()}
}
