// Protoc-gen-micro is a protoc plugin that generates, beside protoc-gen-go and
// protoc-gen-go-grpc, what a .proto says about services and events:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@latest
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest
//	go install github.com/grpc-micro/micro/protoc-gen-micro@latest
//	protoc -I . -I path/to/micro/proto --go_out=. --go-grpc_out=. --micro_out=. greeter.proto
//
// For each service it writes constructors of a micro.Service, a Function and a
// client; for each message with the option micro.v1.event a typed topic. They
// go into a package of their own below the messages' (greeterv1 has
// greeterv1micro), so that the messages never import micro. The annotations
// are in proto/micro/v1/annotations.proto.
//
// It takes the parameters that every Go plugin takes: module=, paths=, M….
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
		fmt.Fprintln(os.Stderr, "protoc-gen-micro is called by protoc or buf, as protoc --micro_out=DIR")
		os.Exit(2)
	}
	protogen.Options{}.Run(generate)
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
