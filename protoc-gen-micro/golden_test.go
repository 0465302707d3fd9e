package main_test

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The golden files lie beside the .proto files in testdata, with the import
// paths that they have in this module: package goldentest compiles and runs
// them, together with what protoc-gen-go and protoc-gen-go-grpc generate.
const module = "github.com/grpc-micro/micro/protoc-gen-micro/testdata"

func TestGolden(t *testing.T) {
	files := inputs(t)
	if *update {
		rewrite(t, files)
	}
	want := contents(t, testdata, ".micro.go")
	if len(want) == 0 {
		t.Fatal("no golden files: run go test ./protoc-gen-micro -run Golden -update")
	}
	compare := func(t *testing.T, got map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("not what is in testdata; if it should be, add -update to this test (-golden, +generated):\n%s", diff)
		}
	}

	t.Run("module=", func(t *testing.T) {
		t.Parallel()
		compare(t, generated(t, nil, "module="+module, files...))
	})
	t.Run("paths=source_relative", func(t *testing.T) {
		t.Parallel()
		compare(t, generated(t, nil, "paths=source_relative", files...))
	})
	t.Run("neither", func(t *testing.T) {
		t.Parallel()
		got := make(map[string]string)
		for name, content := range generated(t, nil, "", files...) {
			got[strings.TrimPrefix(name, module+"/")] = content
		}
		compare(t, got)
	})
	t.Run("the other way round", func(t *testing.T) {
		t.Parallel()
		other := slices.Clone(files)
		slices.Reverse(other)
		compare(t, generated(t, nil, "paths=source_relative", other...))
	})
	t.Run("a run for each file", func(t *testing.T) {
		t.Parallel()
		got := make(map[string]string)
		for _, file := range files {
			maps.Copy(got, generated(t, nil, "paths=source_relative", file))
		}
		compare(t, got)
	})
}

// rewrite writes the golden files, and what they are compiled with.
func rewrite(t *testing.T, files []string) {
	t.Helper()
	for _, suffix := range []string{".micro.go", ".pb.go"} {
		for name := range contents(t, testdata, suffix) {
			if err := os.Remove(filepath.Join(testdata, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name, content string) {
		name = filepath.Join(testdata, name)
		if err := os.MkdirAll(path.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range generated(t, nil, "module="+module, files...) {
		write(name, content)
	}
	req, err := request(nil, "module="+module, files...)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		for _, file := range runTool(t, tool, req).GetFile() {
			write(file.GetName(), file.GetContent())
		}
	}
}

// runTool runs one of the plugins that go.mod names as tools.
func runTool(t *testing.T, tool string, req *pluginpb.CodeGeneratorRequest) *pluginpb.CodeGeneratorResponse {
	t.Helper()
	in, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "tool", tool)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, stderr.String())
	}
	resp := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out, resp); err != nil || resp.Error != nil {
		t.Fatalf("%s: %v %s", tool, err, resp.GetError())
	}
	return resp
}
