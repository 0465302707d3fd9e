package micro_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/grpc-micro/micro"

// imports is the table of CONTRIBUTING.md: a package may import what stands
// behind its arrow, of this module and of others, and the standard library.
// Tests may import what they like. "x/..." is x and everything below it.
const imports = `
micro                   ← resolver, balancer, pubsub, grpc
channelz                ← grpc
resolver                ← grpc, internal/dsn
resolver/etcd           ← resolver, etcd client, grpc, internal/dsn
resolver/mdns           ← resolver, miekg dns, x/net, internal/dsn
resolver/resolvertest   ← resolver, go-cmp
balancer                ← resolver, grpc, x/mod
codec/...               ← codec, grpc
pubsub                  ← codec, internal/lanes, grpc, internal/dsn
pubsub/kafka/...        ← pubsub, pubsub/kafka/..., internal/lanes, kafka-go, internal/dsn
pubsub/nats             ← pubsub, internal/lanes, internal/attrs, nats.go, internal/dsn
pubsub/inbox            ← pubsub, resolver, internal/lanes, proto/micro/v1, grpc
pubsub/outbox           ← pubsub, internal/attrs
pubsub/pubsubtest       ← pubsub, grpc, go-cmp
metrics                 ← resolver, pubsub, prometheus
interceptors/...        ← interceptors/..., go-grpc-middleware, grpc
interceptors/lane       ← balancer, pubsub, grpc
interceptors/rpcmetrics ← interceptors/..., prometheus, grpc
interceptors/tracing    ← interceptors/..., pubsub, opentelemetry, grpc
protoc-gen-micro/...    ← proto/micro/v1, grpc
proto/micro/v1          ← grpc
dev                     ← resolver, pubsub, grpc, etcd client, etcd server, kfake
examples/...            ← everything
internal/attrs          ← pubsub
internal/certs          ← nothing
internal/lanes          ← nothing
internal/e2e            ← nothing
internal/dsn            ← nothing
internal/wait           ← nothing
`

// others has the modules behind the names in the table.
var others = map[string][]string{
	"grpc":               {"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc"},
	"go-grpc-middleware": {"github.com/grpc-ecosystem/go-grpc-middleware/v2"},
	"etcd client":        {"go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/client/pkg/v3", "go.etcd.io/etcd/api/v3", "go.uber.org/zap"},
	"etcd server":        {"go.etcd.io/etcd/server/v3"},
	"miekg dns":          {"github.com/miekg/dns"},
	"x/net":              {"golang.org/x/net"},
	"kafka-go":           {"github.com/segmentio/kafka-go"},
	"nats.go":            {"github.com/nats-io/nats.go"},
	"kfake":              {"github.com/twmb/franz-go", "github.com/twmb/franz-go/pkg/kfake", "github.com/twmb/franz-go/pkg/kmsg"},
	"prometheus":         {"github.com/prometheus/client_golang"},
	"opentelemetry":      {"go.opentelemetry.io/otel", "go.opentelemetry.io/otel/trace"},
	"go-cmp":             {"github.com/google/go-cmp"},
	"x/mod":              {"golang.org/x/mod"},
}

// links has what must not be in a binary, however indirectly, but in those of
// the packages that are named: a package, or a module.
var links = []struct {
	what, why string
	but       []string
}{
	{"go.etcd.io/etcd/server/v3", "services must not carry a whole etcd", []string{"dev", "cmd/...", "examples/..."}},
	{"github.com/twmb/franz-go/pkg/kfake", "services must not carry a whole broker", []string{"dev", "cmd/...", "examples/..."}},
	{"github.com/twmb/franz-go", "kafka-go is our client, franz-go comes only with kfake", []string{"dev", "cmd/...", "examples/..."}},
	{"github.com/nats-io/nats-server/v2", "services must not carry a whole broker", []string{"cmd/...", "examples/..."}},
	{"google.golang.org/grpc/channelz/service", "linking it makes every resolver update slow, for all of the process", []string{"channelz"}},
	{"go.opentelemetry.io/otel", "only who traces links it", []string{"interceptors/tracing", "dev", "cmd/...", "examples/..."}},
	{"github.com/prometheus/client_golang", "only who has metrics links it", []string{"metrics", "interceptors/rpcmetrics", "dev", "cmd/...", "examples/..."}},
	{"testing", "a service must not get test flags", []string{"resolver/resolvertest", "pubsub/pubsubtest", "interceptors/internal/rpctest", "internal/wait"}},
}

// TestImports checks the table. A package that it does not list fails: add its
// line here and in CONTRIBUTING.md.
func TestImports(t *testing.T) {
	t.Parallel()
	allowed := parseImports(t)
	pkgs := listPackages(t)
	for _, pkg := range pkgs {
		if !pkg.ours() {
			continue
		}
		name := short(pkg.ImportPath)
		line := lineOf(allowed, name)
		if line == "" {
			t.Errorf("package %s is in no line of the table of imports: add one to deps_test.go and to CONTRIBUTING.md", name)
			continue
		}
		for _, imported := range pkg.Imports {
			if dep := pkgs[imported]; !dep.Standard && !permitted(allowed[line], dep) {
				t.Errorf("%s imports %s, and the table in deps_test.go allows it only %s: drop the import, or add it there and in CONTRIBUTING.md with a reason in the commit",
					name, imported, strings.Join(allowed[line], ", "))
			}
		}
	}
}

// TestLinks checks what comes into a binary by way of others.
func TestLinks(t *testing.T) {
	t.Parallel()
	pkgs := listPackages(t)
	for _, link := range links {
		reach := make(map[string]string) // package → its import that leads there, or ""
		for _, pkg := range pkgs {
			if pkg.ours() && pkgs.reaches(pkg.ImportPath, link.what, reach) && !slices.ContainsFunc(link.but, covers(short(pkg.ImportPath))) {
				t.Errorf("%s links %s (%s), by %s", short(pkg.ImportPath), link.what, link.why, chain(pkg.ImportPath, reach))
			}
		}
	}
}

// TestImportsAreDocumented compares the table with the one that people read.
func TestImportsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```"+imports+"```") {
		t.Error("CONTRIBUTING.md does not have the table of deps_test.go: copy it there")
	}
}

func parseImports(t *testing.T) map[string][]string {
	t.Helper()
	allowed := make(map[string][]string)
	for line := range strings.Lines(strings.TrimSpace(imports)) {
		pkg, list, ok := strings.Cut(strings.TrimSpace(line), "←")
		if !ok {
			t.Fatalf("no arrow in %q", line)
		}
		for name := range strings.SplitSeq(list, ",") {
			allowed[strings.TrimSpace(pkg)] = append(allowed[strings.TrimSpace(pkg)], strings.TrimSpace(name))
		}
	}
	return allowed
}

// lineOf finds the longest pattern in the table that covers the package.
func lineOf(allowed map[string][]string, name string) string {
	longest := ""
	for pattern := range allowed {
		if covers(name)(pattern) && len(pattern) > len(longest) {
			longest = pattern
		}
	}
	return longest
}

func permitted(allowed []string, dep listed) bool {
	return slices.ContainsFunc(allowed, func(name string) bool {
		switch modules, ok := others[name]; {
		case name == "everything":
			return true
		case ok:
			return dep.Module != nil && slices.Contains(modules, dep.Module.Path)
		default:
			return dep.ours() && covers(short(dep.ImportPath))(name)
		}
	})
}

// covers returns whether a pattern is name, or "x/..." with name x or below.
func covers(name string) func(pattern string) bool {
	return func(pattern string) bool {
		dir, below := strings.CutSuffix(pattern, "/...")
		return name == dir || below && strings.HasPrefix(name, dir+"/")
	}
}

// short is how the table names a package of this module.
func short(importPath string) string {
	if importPath == module {
		return path.Base(module)
	}
	return strings.TrimPrefix(importPath, module+"/")
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

func (l listed) ours() bool { return l.Module != nil && l.Module.Path == module }

type packages map[string]listed

// reaches says whether pkg is, or imports however indirectly, what: a package
// or a module.
func (p packages) reaches(pkg, what string, reach map[string]string) bool {
	if next, known := reach[pkg]; known {
		return next != ""
	}
	l := p[pkg]
	if pkg == what || l.Module != nil && l.Module.Path == what {
		reach[pkg] = pkg
		return true
	}
	reach[pkg] = ""
	for _, imported := range l.Imports {
		if p.reaches(imported, what, reach) {
			reach[pkg] = imported
			return true
		}
	}
	return false
}

// chain is the way that reaches found.
func chain(pkg string, reach map[string]string) string {
	way := reach[pkg]
	for pkg = way; reach[pkg] != pkg; pkg = reach[pkg] {
		way += " → " + reach[pkg]
	}
	return way
}

// listPackages asks the go command for this module's packages and all that
// they import, without their tests.
func listPackages(t *testing.T) packages {
	t.Helper()
	touchSources(t)
	pkgs, err := goList()
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// goList takes half a second: once is enough.
var goList = sync.OnceValues(func() (packages, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Standard,Module", "./...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.String())
	}
	pkgs := make(packages)
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var l listed
		if err := dec.Decode(&l); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		pkgs[l.ImportPath] = l
	}
	return pkgs, nil
})

// touchSources looks at every Go file, so that go test knows that this test
// depends on them: it caches a pass, and does not see what go list reads.
func touchSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".go"):
			_, err = os.Stat(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
