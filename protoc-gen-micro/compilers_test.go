package main_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestCompilers runs the real protoc and buf with the real plugins. A machine
// that has neither skips, because go test asks for nothing but Go;
// MICRO_REQUIRE_PROTOC=1 fails it instead.
func TestCompilers(t *testing.T) {
	protoc, buf := find(t, "protoc"), find(t, "buf")
	bin := ""
	if protoc != "" || buf != "" {
		bin = plugins(t)
	}
	t.Run("protoc", func(t *testing.T) {
		need(t, protoc, "protoc", "install protobuf-compiler and libprotobuf-dev")
		withProtoc(t, protoc, bin)
	})
	t.Run("buf", func(t *testing.T) {
		need(t, buf, "buf", "make tools")
		withBuf(t, buf, bin)
	})
}

// find looks for a program on PATH, and where make tools puts it.
func find(t *testing.T, program string) string {
	t.Helper()
	for _, name := range []string{program, filepath.Join("..", ".bin", program)} {
		if found, err := exec.LookPath(name); err == nil {
			if found, err = filepath.Abs(found); err != nil {
				t.Fatal(err)
			}
			return found
		}
	}
	return ""
}

func need(t *testing.T, found, program, how string) {
	t.Helper()
	switch {
	case found != "":
	case os.Getenv("MICRO_REQUIRE_PROTOC") == "1":
		t.Fatalf("%s is neither on PATH nor in .bin: %s", program, how)
	default:
		t.Skipf("%s is neither on PATH nor in .bin: %s", program, how)
	}
}

// plugins builds ours and the two of protobuf and grpc.
func plugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := run(t, ".", "go", "build", "-o", dir, ".",
		"google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc")
	if err != nil {
		t.Fatalf("building the plugins: %v\n%s", err, out)
	}
	return dir
}

func run(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "BUF_CACHE_DIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func withProtoc(t *testing.T, protoc, bin string) {
	t.Helper()
	files := parsable(t, protoc)
	generate := func(t *testing.T, sources, opt string, files ...string) (out, said string, err error) {
		t.Helper()
		out = t.TempDir()
		args := []string{"-I", sources, "-I", annotations}
		for _, kind := range []string{"go", "go-grpc", "micro"} {
			args = append(args, "--plugin="+filepath.Join(bin, "protoc-gen-"+kind), "--"+kind+"_out="+out, "--"+kind+"_opt="+opt)
		}
		said, err = run(t, ".", protoc, append(args, files...)...)
		return out, said, err
	}
	for _, opt := range []string{"module=" + module, "paths=source_relative"} {
		t.Run(opt, func(t *testing.T) {
			t.Parallel()
			out, said, err := generate(t, testdata, opt, files...)
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			compareToGolden(t, out, files)
		})
	}
	t.Run("mistakes", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, dir, several)
		out, said, err := generate(t, dir, "", "a.proto", "b.proto")
		if err == nil || !strings.Contains(said, severalMistakes) {
			t.Errorf("%v: -want +got:\n%s", err, cmp.Diff(severalMistakes, said))
		}
		if files := contents(t, out, ".micro.go"); len(files) > 0 {
			t.Errorf("%d files were written beside the error", len(files))
		}
	})
}

// parsable returns the inputs that this protoc is new enough for: Debian's 3.21
// is older than the editions.
func parsable(t *testing.T, protoc string) []string {
	t.Helper()
	out, err := run(t, ".", protoc, "--version")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	version, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(out)) // libprotoc 3.21.12, libprotoc 32.1
	if err != nil {
		t.Fatalf("protoc has version %q", out)
	}
	sources := contents(t, testdata, ".proto")
	for edition, since := range map[string]int{"2023": 27, "2024": 32} {
		maps.DeleteFunc(sources, func(_, source string) bool {
			return version < since && strings.Contains(source, `edition = "`+edition+`"`)
		})
	}
	t.Logf("protoc has version %d, and gets %d of %d files", version, len(sources), len(inputs(t)))
	return slices.Sorted(maps.Keys(sources))
}

func withBuf(t *testing.T, buf, bin string) {
	t.Helper()
	// A workspace as users have it: theirs, and the annotations beside it.
	workspace := func(t *testing.T, sources map[string]string, opt string) string {
		t.Helper()
		dir := t.TempDir()
		write(t, filepath.Join(dir, "proto"), sources)
		write(t, filepath.Join(dir, "third_party"), contents(t, annotations, ".proto"))
		plugins := ""
		for _, kind := range []string{"go", "go-grpc", "micro"} {
			plugins += "  - {local: " + filepath.Join(bin, "protoc-gen-"+kind) + ", out: gen, opt: '" + opt + "'}\n"
		}
		write(t, dir, map[string]string{
			"buf.yaml":     "version: v2\nmodules: [{path: proto}, {path: third_party}]\n",
			"buf.gen.yaml": "version: v2\nplugins:\n" + plugins,
		})
		return dir
	}
	for _, opt := range []string{"module=" + module, "paths=source_relative"} {
		t.Run(opt, func(t *testing.T) {
			t.Parallel()
			dir := workspace(t, contents(t, testdata, ".proto"), opt)
			if out, err := run(t, dir, buf, "generate", "proto"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			compareToGolden(t, filepath.Join(dir, "gen"), inputs(t))
		})
	}
	t.Run("mistakes", func(t *testing.T) {
		t.Parallel()
		dir := workspace(t, several, "")
		out, err := run(t, dir, buf, "generate", "proto")
		// To buf an option begins at its name, to protoc at the word option.
		column := regexp.MustCompile(`(\.proto:\d+):\d+`)
		want, got := column.ReplaceAllString(severalMistakes, "$1"), column.ReplaceAllString(out, "$1")
		if err == nil || !strings.Contains(got, want) {
			t.Errorf("%v: -want +got:\n%s", err, cmp.Diff(want, got))
		}
	})
}

// compareToGolden compares all that is in dir to the golden files of the inputs,
// to the byte, and to what these are compiled with, but for the line that has
// the version of protoc.
func compareToGolden(t *testing.T, dir string, files []string) {
	t.Helper()
	dirs := make(map[string]bool)
	for _, file := range files {
		dirs[path.Dir(file)] = true
	}
	want := contents(t, testdata, ".go")
	maps.DeleteFunc(want, func(name, _ string) bool {
		return !dirs[path.Dir(name)] && !dirs[path.Dir(path.Dir(name))]
	})
	got := contents(t, dir, ".go")
	for _, code := range []map[string]string{want, got} {
		for name := range code {
			if strings.HasSuffix(name, ".micro.go") {
				continue // must be the same to the byte
			}
			code[name] = compilerVersion.ReplaceAllString(code[name], "")
		}
	}
	if len(want) < len(files) {
		t.Fatalf("%d golden files of %d inputs", len(want), len(files))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-golden +generated:\n%s", diff)
	}
}

var compilerVersion = regexp.MustCompile(`(?m)^// [\t-] *protoc +\S+$`)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
