// Package examples_test runs the examples as a newcomer does.
package examples_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"greeter": {
			"greeter-3 (v2) serves on 127.0.0.1:",
			"are answered by [greeter-1 greeter-2 greeter-3]",
			"Hello, Barbara! (from greeter-",
			"a call for version v2 only is answered by greeter-3 (v2)",
			`"How are you?" – "That was 12 letters."`,
			"event: mailer heard that greeter-",
			"event: statistics heard that greeter-",
			"everything has stopped",
		},
		"plain":    {"Hello, Ada", "Hello, Grace", "heard that Ada was greeted", "heard that Grace was greeted"},
		"function": {"Hello, Ada (from function-", "three functions served one call each, and ended", "one event handled", "the function ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			binary := filepath.Join(t.TempDir(), name)
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			began := time.Now()
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			for _, line := range want {
				if !strings.Contains(stdout.String(), line) {
					t.Errorf("it does not say %q:\n%s", line, &stdout)
				}
			}
			if stderr.Len() > 0 {
				t.Errorf("it complains:\n%s", &stderr)
			}
		})
	}
}

// The plain example does what it says: it links no package micro.
func TestPlainLinksNoMicro(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./plain").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		if strings.TrimSpace(pkg) == "github.com/grpc-micro/micro" {
			t.Error("examples/plain links package micro")
		}
	}
}
