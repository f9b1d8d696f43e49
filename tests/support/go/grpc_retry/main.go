// grpc_retry makes one unary call as any service in Go would, with a retry policy in its service config, and prints
// how it ended and how many attempts grpc-go made.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// rawCodec sends and reads messages as they are, so that no generated code is needed.
type rawCodec struct{}

func (rawCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte{}, data...)
	return nil
}

func (rawCodec) Name() string { return "proto" }

// attemptCounter counts the attempts that reach a connection.
type attemptCounter struct{ attempts atomic.Int64 }

func (*attemptCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*attemptCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*attemptCounter) HandleConn(context.Context, stats.ConnStats)                       {}

func (counter *attemptCounter) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, isSent := event.(*stats.OutHeader); isSent {
		counter.attempts.Add(1)
	}
}

func main() {
	address := flag.String("address", "", "host:port")
	method := flag.String("method", "", "the method's path")
	body := flag.String("body", "", "the request as hexadecimal digits")
	headers := flag.String("headers", "", "name=value pairs, separated by semicolons")
	config := flag.String("config", "{}", "the service config")
	flag.Parse()

	request, err := hex.DecodeString(*body)
	if err != nil {
		log.Fatal(err)
	}
	counter := &attemptCounter{}
	connection, err := grpc.NewClient(
		*address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(*config),
		grpc.WithStatsHandler(counter),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, pair := range strings.Split(*headers, ";") {
		if name, value, found := strings.Cut(pair, "="); found {
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
	}
	var response []byte
	err = connection.Invoke(ctx, *method, &request, &response, grpc.ForceCodec(rawCodec{}))
	ended := map[string]any{"code": status.Code(err).String(), "attempts": counter.attempts.Load()}
	if err := json.NewEncoder(os.Stdout).Encode(ended); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
