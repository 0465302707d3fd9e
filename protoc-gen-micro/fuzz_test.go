package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/pluginpb"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
	plugin "github.com/grpc-micro/micro/protoc-gen-micro"
)

// Bits of what the fuzzer chooses.
const (
	clientStream = 1 << iota
	serverStream
	idempotent
	deadLetter
	key
	deprecated
)

// Whatever is annotated, the plugin writes Go that means it, or reports
// mistakes; it neither panics nor says anything else.
func FuzzGenerate(f *testing.F) {
	f.Add("shop.order-placed", "Shop", "Price", "order_id", " What it is.\n", int32(0), int32(7), int64(0), int32(50_000_000), int64(90), int32(0), byte(idempotent|deadLetter|key))
	f.Add("", "_s", "close", "string", "go:generate x\n*/\n\n", int32(9), int32(-3), int64(-1), int32(1), int64(1)<<40, int32(5), byte(clientStream|serverStream|deprecated))
	f.Add("t", "Foo", "FooClient", "Reset", "\x00\ufeff\r\xff", int32(2), int32(-1), int64(7200), int32(0), int64(7200), int32(1), byte(clientStream|key))
	f.Add("`\"\\", "Foo", "FooClient", "Reset", "\x00\ufeff\r", int32(2), int32(-1), int64(7200), int32(0), int64(3), int32(1), byte(clientStream|key))
	f.Fuzz(func(t *testing.T, topic, service, method, field, comment string, encoding, attempts int32, s1 int64, n1 int32, s2 int64, n2 int32, bits byte) {
		first, longest := &durationpb.Duration{Seconds: s1, Nanos: n1}, &durationpb.Duration{Seconds: s2, Nanos: n2}
		event := &microv1.Event{
			Topic: topic, Encoding: microv1.Encoding(encoding), DeadLetter: bits&deadLetter != 0,
			Retry: &microv1.Retry{Attempts: attempts, InitialBackoff: first, MaxBackoff: longest},
		}
		req, err := overTheWire(fuzzed(event, &microv1.Method{Timeout: first}, service, method, field, comment, bits))
		if err != nil {
			return // a topic that is not UTF-8, as protobuf's strings are
		}
		resp, err := respond(req)
		if err != nil {
			return // no names that protobuf takes
		}
		if resp.Error != nil {
			if !reported.MatchString(resp.GetError()) {
				t.Errorf("not of the form file:line:column: what, and what instead:\n%s", resp.GetError())
			}
			return
		}
		if !pubsubTakes(topic) || attempts < -1 || first.AsDuration() <= 0 || longest.AsDuration() < first.AsDuration() {
			t.Errorf("took %v", event)
		}
		content := resp.GetFile()[0].GetContent()
		file, err := parser.ParseFile(token.NewFileSet(), "f.micro.go", content, parser.ParseComments)
		if err != nil {
			t.Fatalf("%v in\n%s", err, content)
		}
		literals := make(map[string]bool)
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				literals[text] = true
			}
			return true
		})
		if !literals[topic] {
			t.Errorf("no topic %q in\n%s", topic, content)
		}
		if timeout := timeouts.FindStringSubmatch(content); timeout == nil {
			t.Errorf("no timeout in\n%s", content)
		} else if d, err := time.ParseDuration(timeout[1]); err != nil || d != first.AsDuration() {
			t.Errorf("timeout is %s, want %v", timeout[1], first.AsDuration())
		}
		for _, group := range file.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//") && c.Text != "//" && !strings.ContainsRune(" \t", rune(c.Text[2])) {
					t.Errorf("%q may be a directive", c.Text)
				}
			}
		}
	})
}

var (
	reported = regexp.MustCompile(`^wrong annotations:(\nf\.proto:\d+:\d+: .+: .+)+$`)
	timeouts = regexp.MustCompile(`"timeout":"([0-9.]+s)"`)
)

// fuzzed is a file with one service and one event.
func fuzzed(event *microv1.Event, method *microv1.Method, service, call, field, comment string, bits byte) *pluginpb.CodeGeneratorRequest {
	messageOptions := &descriptorpb.MessageOptions{Deprecated: new(bits&deprecated != 0)}
	proto.SetExtension(messageOptions, microv1.E_Event, event)
	fieldOptions := new(descriptorpb.FieldOptions)
	proto.SetExtension(fieldOptions, microv1.E_Key, bits&key != 0)
	methodOptions := new(descriptorpb.MethodOptions)
	proto.SetExtension(methodOptions, microv1.E_Method, method)
	if bits&idempotent != 0 {
		methodOptions.IdempotencyLevel = descriptorpb.MethodOptions_IDEMPOTENT.Enum()
	}
	file := &descriptorpb.FileDescriptorProto{
		Name: new("f.proto"), Syntax: new("proto3"), Package: new("f.v1"),
		Dependency: []string{microv1.File_micro_v1_annotations_proto.Path()},
		Options:    &descriptorpb.FileOptions{GoPackage: new("example.com/f")},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: new("E"), Options: messageOptions,
			Field: []*descriptorpb.FieldDescriptorProto{{
				Name: new(field), Number: new(int32(1)), Options: fieldOptions,
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			}},
		}},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name:    new(service),
			Options: &descriptorpb.ServiceOptions{Deprecated: new(bits&deprecated != 0)},
			Method: []*descriptorpb.MethodDescriptorProto{{
				Name: new(call), InputType: new(".f.v1.E"), OutputType: new(".f.v1.E"), Options: methodOptions,
				ClientStreaming: new(bits&clientStream != 0), ServerStreaming: new(bits&serverStream != 0),
			}},
		}},
		SourceCodeInfo: &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{
			{Path: []int32{4, 0}, Span: []int32{3, 0, 9}, LeadingComments: &comment},
			{Path: []int32{6, 0}, Span: []int32{5, 0, 9}, LeadingComments: &comment},
		}},
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{"f.proto"}}
	for _, imported := range []protoreflect.FileDescriptor{
		descriptorpb.File_google_protobuf_descriptor_proto, durationpb.File_google_protobuf_duration_proto, microv1.File_micro_v1_annotations_proto,
	} {
		req.ProtoFile = append(req.ProtoFile, protodesc.ToFileDescriptorProto(imported))
	}
	req.ProtoFile = append(req.ProtoFile, file)
	return req
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Nanosecond:                     "0.000000001s",
		500 * time.Millisecond:              "0.5s",
		time.Second:                         "1s",
		90 * time.Minute:                    "5400s",
		10 * time.Second:                    "10s",
		math.MaxInt64 - time.Nanosecond:     "9223372036.854775806s",
		100*24*time.Hour + time.Duration(1): "8640000.000000001s",
	} {
		if got := plugin.Seconds(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
