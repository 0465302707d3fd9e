package main_test

import (
	"context"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	plugin "github.com/grpc-micro/micro/protoc-gen-micro"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testdata    = "testdata"
	annotations = "../proto" // the folder that micro/v1/annotations.proto is in
)

// request compiles files, and returns what protoc would send to a plugin. They
// are those in extra, by name, or else those below testdata.
func request(extra map[string]string, param string, files ...string) (*pluginpb.CodeGeneratorRequest, error) {
	newest := make(map[string]bool)
	open := func(name string) (io.ReadCloser, error) {
		source, ok := extra[name]
		if !ok {
			data, err := os.ReadFile(filepath.Join(testdata, name))
			if err != nil {
				data, err = os.ReadFile(filepath.Join(annotations, name))
			}
			if err != nil {
				return nil, err
			}
			source = string(data)
		}
		newest[name] = strings.Contains(source, `edition = "2024"`)
		return io.NopCloser(strings.NewReader(until2023.Replace(source))), nil
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{Accessor: open}),
		SourceInfoMode: protocompile.SourceInfoStandard,
		MaxParallelism: 1, // open keeps a map
	}
	compiled, err := compiler.Compile(context.Background(), files...)
	if err != nil {
		return nil, err
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: files, Parameter: new(param)}
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) { // imports first, as protoc does
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for n := range file.Imports().Len() {
			add(file.Imports().Get(n).FileDescriptor)
		}
		p := protoutil.ProtoFromFileDescriptor(file)
		if newest[file.Path()] {
			p = to2024(p)
		}
		req.ProtoFile = append(req.ProtoFile, p)
	}
	for _, file := range compiled {
		add(file)
	}
	return overTheWire(req)
}

// protocompile ends at edition 2023. What the files here have of 2024 is the
// number, and that options are imported as such; columns stay where they are.
var until2023 = strings.NewReplacer(`edition = "2024"`, `edition = "2023"`, "import option", "import       ")

func to2024(p *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	p = proto.CloneOf(p)
	p.Edition = descriptorpb.Edition_EDITION_2024.Enum()
	p.OptionDependency, p.Dependency = p.GetDependency(), nil
	return p
}

// overTheWire has the options decoded as the plugin's process would.
func overTheWire(req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorRequest, error) {
	data, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	out := new(pluginpb.CodeGeneratorRequest)
	return out, proto.Unmarshal(data, out)
}

// respond does what protogen's Run does between reading and writing.
func respond(req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	gen, err := plugin.Options.New(req)
	if err != nil {
		return nil, err
	}
	if err := plugin.Generate(gen); err != nil {
		gen.Error(err)
	}
	return gen.Response(), nil
}

// generated returns what the plugin writes, by file name.
func generated(t *testing.T, extra map[string]string, param string, files ...string) map[string]string {
	t.Helper()
	req, err := request(extra, param, files...)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := respond(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Error != nil {
		t.Fatal(resp.GetError())
	}
	out := make(map[string]string)
	for _, file := range resp.GetFile() {
		if _, twice := out[file.GetName()]; twice {
			t.Errorf("%s was generated twice", file.GetName())
		}
		out[file.GetName()] = file.GetContent()
	}
	return out
}

// inputs are the .proto files below testdata.
func inputs(t *testing.T) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(contents(t, testdata, ".proto")))
}

// contents reads the files below dir whose names end in suffix, by name.
func contents(t *testing.T, dir, suffix string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, suffix) {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		out[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
