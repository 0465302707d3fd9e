// Protoc-gen-micro is a plugin of protoc and buf. It generates Go code for what
// a .proto file says about services and events:
//
//   - for each service the name by which it is found, constructors of a
//     micro.Service and of a Function, and a client that finds its instances in
//     a registry, with the deadlines and retries that the .proto asks for;
//   - for each message with the option micro.v1.event a typed topic, with which
//     it is published and subscribed to.
//
// It stands beside protoc-gen-go and protoc-gen-go-grpc, and uses what they
// generate. Its own code goes into a package below theirs (greeterv1 has
// greeterv1micro), so that the messages never import micro.
//
// # From a .proto to Go
//
// A service and an event, in greeter/v1/greeter.proto:
//
//	syntax = "proto3";
//	package greeter.v1;
//
//	import "micro/v1/annotations.proto";
//
//	option go_package = "example.com/hello/greeter/v1;greeterv1";
//
//	service Greeter {
//	  rpc SayHello(SayHelloRequest) returns (SayHelloResponse) {
//	    option idempotency_level = NO_SIDE_EFFECTS;
//	    option (micro.v1.method) = { timeout: { nanos: 500000000 } };
//	  }
//	}
//
//	message SayHelloRequest { string name = 1; }
//	message SayHelloResponse { string greeting = 1; }
//
//	message Greeted {
//	  option (micro.v1.event) = { topic: "greeter.greeted" retry: { attempts: 5 } dead_letter: true };
//	  string name = 1 [(micro.v1.key) = true];
//	}
//
// become, in greeter/v1/greeterv1micro/greeter.micro.go:
//
//	const GreeterName = "greeter.v1.Greeter"
//
//	func NewGreeterService(srv greeterv1.GreeterServer, opts ...micro.Option) *micro.Service
//	func NewGreeterFunction(srv greeterv1.GreeterServer, opts ...micro.Option) *micro.Service
//
//	// GreeterClient is a greeterv1.GreeterClient with a method Close.
//	func NewGreeterClient(d resolver.Discovery, opts ...grpc.DialOption) (*GreeterClient, error)
//
//	const GreeterServiceConfig = `…` // the timeout and the retries, for grpc
//
//	var GreetedTopic = pubsub.NewTopic[greeterv1.Greeted]("greeter.greeted",
//		pubsub.WithKey(func(m *greeterv1.Greeted) string { return m.GetName() }),
//		pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 5}),
//		pubsub.WithDeadLetter(),
//	)
//
// # Annotations
//
// There are three; proto/micro/v1/annotations.proto says all about each.
//
//   - (micro.v1.event) makes a message an event: its topic, which it shares with
//     no other, its encoding, retries, and dead letters.
//   - (micro.v1.key) is the field of an event, a string, by which it is ordered.
//   - (micro.v1.method) sets the deadline of a method's calls.
//
// Calls that fail with Unavailable are sent again, up to twice, if protobuf's
// own idempotency_level is NO_SIDE_EFFECTS or IDEMPOTENT, and the method does
// not take a stream.
//
// Wrong annotations end protoc with every mistake of the run, each as
// file:line:column: what, and what instead. Nothing is generated then.
//
// # With protoc
//
// The plugins go where PATH finds them, and the annotations come from this
// module, which the project's go.mod requires (go get github.com/grpc-micro/micro):
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@latest
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest
//	go install github.com/grpc-micro/micro/protoc-gen-micro@latest
//
//	protoc -I . -I "$(go list -m -f '{{.Dir}}' github.com/grpc-micro/micro)/proto" \
//		--go_out=. --go_opt=paths=source_relative \
//		--go-grpc_out=. --go-grpc_opt=paths=source_relative \
//		--micro_out=. --micro_opt=paths=source_relative \
//		greeter/v1/greeter.proto
//
// # With buf
//
// Buf compiles what is in its workspace, so annotations.proto is copied into a
// module of its own there:
//
//	mkdir -p third_party/micro/v1
//	cp "$(go list -m -f '{{.Dir}}' github.com/grpc-micro/micro)"/proto/micro/v1/annotations.proto third_party/micro/v1/
//
// This is buf.yaml, with the .proto files of the project in the folder proto:
//
//	version: v2
//	modules:
//	  - path: proto
//	  - path: third_party
//
// and this buf.gen.yaml, after which buf generate proto writes to gen:
//
//	version: v2
//	plugins:
//	  - {local: protoc-gen-go, out: gen, opt: paths=source_relative}
//	  - {local: protoc-gen-go-grpc, out: gen, opt: paths=source_relative}
//	  - {local: protoc-gen-micro, out: gen, opt: paths=source_relative}
//
// Buf runs plugins folder by folder, unless strategy: all is set, and two events
// on one topic are noticed only within a run and what it imports.
//
// # Parameters
//
// They are those of every Go plugin, and are the same for all three: module=,
// paths=, M<file>=, and default_api_level= or apilevelM<file>= for messages with
// the opaque API. proto2, proto3 and the editions 2023 and 2024 are understood,
// as far as the compiler does.
package main

import (
	"fmt"
	"os"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "protoc-gen-micro is called by protoc or buf, as protoc --micro_out=DIR: see go doc github.com/grpc-micro/micro/protoc-gen-micro")
		os.Exit(2)
	}
	pluginOptions.Run(generate)
}

// protogen knows the parameters of every Go plugin, and would take any other
// in silence.
var pluginOptions = protogen.Options{
	ParamFunc: func(name, _ string) error {
		return fmt.Errorf("unknown parameter %q: use module=, paths=, M<file>=, default_api_level= or apilevelM<file>=", name)
	},
}

// generate writes what the files of one run ask for, or reports every mistake
// in them.
func generate(gen *protogen.Plugin) error {
	gen.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL | pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	gen.SupportedEditionsMinimum = descriptorpb.Edition_EDITION_PROTO2
	gen.SupportedEditionsMaximum = descriptorpb.Edition_EDITION_2024
	if err := check(gen); err != nil {
		return err
	}
	for _, file := range gen.Files {
		if file.Generate {
			generateFile(gen, file)
		}
	}
	return nil
}
