// Package peer is the part that every program below peers shares: it serves the
// echo service, or calls it, as a child process of the benchmark, and says what
// that took.
//
// Each peer is a program of its own, because linking one already changes the
// others: kratos switches channelz on for its whole process, go-zero starts a
// goroutine that reads the CPU's load, a compressor adds a header to each call.
package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"google.golang.org/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"
)

// Peer is a framework, at the defaults that its users get: for calls it has
// Serve and Dial, for events it has Publish and Consume.
type Peer struct {
	// Serve serves echo on a free port of 127.0.0.1 until ctx ends, and calls
	// ready with its address once it can be called.
	Serve func(ctx context.Context, c Config, echo Echo, ready func(addr string)) error

	// Dial returns a client of the servers in c.
	Dial func(ctx context.Context, c Config) (Client, error)

	// Publisher returns a function that publishes one message, and returns when
	// the broker has it on all replicas. Many goroutines call it at once.
	Publisher func(ctx context.Context, c Config, topic string) (func(ctx context.Context, key, value []byte) error, error)

	// Consume handles a topic from its start, as the only member of a new group,
	// until ctx ends.
	Consume func(ctx context.Context, c Config, topic, group string, handle func()) error
}

// Config is what a row says to its peer.
type Config struct {
	Mode     string   // of the peers that have several rows
	Registry string   // URL of an etcd, for those that look servers up
	Service  string   // to register as, and to look up: one of this row and round
	Addrs    []string // of the servers, for those that do not
	Broker   string   // of Kafka, host:port

	TCP bool // and nothing else, as between hosts

	// As load grows: neither is set for the rows of the other tables.
	MaxMessage int // bytes that a message may have; 0: grpc's 4 MiB
	Instances  int // of the service, all at the one address in Addrs and at Aliases of it; 0: as many as Addrs
}

// Client makes calls, from many goroutines at once.
type Client interface {
	Unary(ctx context.Context, req *pb.SimpleRequest) (*pb.SimpleResponse, error)
	Stream(ctx context.Context) (Stream, error)
}

// Stream is one stream in both directions.
type Stream interface {
	Send(req *pb.SimpleRequest) error
	Recv() (*pb.SimpleResponse, error)
}

// Stub is the Client of peers that have a grpc.ClientConn.
func Stub(cc grpc.ClientConnInterface) Client { return stub{pb.NewBenchmarkServiceClient(cc)} }

type stub struct{ client pb.BenchmarkServiceClient }

func (s stub) Unary(ctx context.Context, req *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	return s.client.UnaryCall(ctx, req)
}

func (s stub) Stream(ctx context.Context) (Stream, error) { return s.client.StreamingCall(ctx) }

// Echo is the service: it answers each message with its payload.
type Echo struct {
	pb.UnimplementedBenchmarkServiceServer
}

// UnaryCall implements pb.BenchmarkServiceServer.
func (Echo) UnaryCall(_ context.Context, req *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	return &pb.SimpleResponse{Payload: req.GetPayload()}, nil
}

// StreamingCall implements pb.BenchmarkServiceServer.
func (Echo) StreamingCall(stream pb.BenchmarkService_StreamingCallServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.SimpleResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

// Request is what the parent asks: to make calls (a client), or, without a job,
// what was used since the last time (a server).
type Request struct {
	Job    *Job
	Settle bool // collect garbage before Memory is taken
}

// Reply is what a child says: first where it serves or that it has dialed, then
// one reply a request.
type Reply struct {
	Addr   string  `json:",omitempty"`
	Error  string  `json:",omitempty"`
	Usage  Usage   // since the reply before
	Memory Memory  // now
	Result *Result `json:",omitempty"`
}

// Main serves or calls as the arguments say, answering the parent's requests on
// standard input until that ends.
func (p Peer) Main() {
	log.SetFlags(0)
	serve := flag.Bool("serve", false, "serve, instead of making calls")
	config := flag.String("config", "{}", "a Config, in JSON")
	profile := flag.String("profile", "", "write profiles to this path plus .cpu and .allocs")
	flag.Parse()
	var c Config
	if err := json.Unmarshal([]byte(*config), &c); err != nil {
		log.Fatal(err)
	}
	stop, err := startProfile(*profile)
	if err != nil {
		log.Fatal(err)
	}
	if *serve {
		err = p.serve(c)
	} else {
		err = p.call(c)
	}
	if err = errors.Join(err, stop()); err != nil {
		reply(Reply{Error: err.Error()})
		os.Exit(1)
	}
}

func (p Peer) serve(c Config) error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Serve(ctx, c, Echo{}, func(addr string) {
			go func() {
				defer cancel()
				answer(Reply{Addr: addr}, func(*Job) *Result { return nil })
			}()
		})
	}()
	if err := <-ended; ctx.Err() == nil {
		return fmt.Errorf("serving ended: %w", err)
	}
	return nil // how it stops is not what is measured
}

func (p Peer) call(c Config) error {
	ctx := context.Background()
	if p.Dial == nil {
		e := events{Peer: p, config: c, publishers: make(map[string]publisher)}
		answer(Reply{}, func(job *Job) *Result { return job.run(ctx, e.job(job)) })
		return nil
	}
	client, err := p.Dial(ctx, c)
	if err != nil {
		return err
	}
	held := &holder{}
	answer(Reply{}, func(job *Job) *Result {
		if job == nil {
			return nil // it is asked for what it has used
		}
		return job.run(ctx, calls{job, client, held}.job())
	})
	return nil
}

// answer says hello and then answers each request, until there are no more.
func answer(hello Reply, do func(*Job) *Result) {
	reply(hello)
	last := now()
	for in := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		var req Request
		if err := in.Decode(&req); err != nil {
			return
		}
		r := Reply{Result: do(req.Job)}
		used := now()
		r.Usage = used.since(last)
		if r.Memory = memoryNow(req.Settle); req.Settle {
			used = now() // what settling takes is nobody's
		}
		last = used
		reply(r)
	}
}

func reply(r Reply) {
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		log.Fatal(err) // the parent is gone
	}
}
