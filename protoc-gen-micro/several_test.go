package main_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// several has mistakes in two files, which are all reported in one go.
var several = map[string]string{
	"a.proto": `syntax = "proto2";
import "micro/v1/annotations.proto";
option go_package = "example.com/a";

message Empty {
  option (micro.v1.event) = {
    encoding: 9
    retry: { attempts: -5 }
  };

  optional int32 n = 1 [
    (micro.v1.key) = true
  ];
}

service Short {
  rpc Do(Empty) returns (stream Empty) {
    option (micro.v1.method) = {
      timeout: { nanos: -3 }
    };
  }
}
`,
	"b.proto": `syntax = "proto3";
package b;
import "a.proto";
import "micro/v1/annotations.proto";
option go_package = "example.com/b;main";

message Twin {
  option (micro.v1.event).topic = "twin";
  option (micro.v1.event).dead_letter = true;
  Empty empty = 1;
}

// Another is no better.
message Another {
  option (micro.v1.event) = { topic: "twin" };
  string a = 1 [(micro.v1.key) = true];
  string b = 2 [(micro.v1.key) = true];
}
`,
}

const severalMistakes = `wrong annotations:
a.proto:6:3: event Empty has no topic: add one, such as topic: "empty"
a.proto:6:3: encoding 9 of event Empty is not known: use ENCODING_PROTO or ENCODING_JSON
a.proto:6:3: retry of event Empty has -5 attempts: use 1 or more, or -1 for no limit
a.proto:12:5: n is a key of type int32: a key is one string, so annotate a field of type string
a.proto:18:5: timeout of Do is -3ns: make it positive, or take it away
a.proto:18:5: Do is a stream of responses, and has a timeout, which would cut it off: take it away, and let callers set a deadline
b.proto:5:1: the messages are in Go package main, which no other package can import: give them one of their own with option go_package
b.proto:15:3: topic "twin" of event Another is that of b.Twin (b.proto:8:3) already: give each event a topic of its own
b.proto:17:17: b is a second key of Another: an event has one, so make a field that holds both, or take one away`

func TestAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(severalMistakes, mistakes(t, several, "a.proto", "b.proto")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The mistakes of what is only imported are of another run.
func TestImportsAreNotChecked(t *testing.T) {
	t.Parallel()
	files := generated(t, map[string]string{
		"w.proto": header + `message M { string a = 1 [(micro.v1.key) = true]; } message E { option (micro.v1.event) = { topic: "a b" }; }`,
		"x.proto": `syntax = "proto3"; package x; import "w.proto"; option go_package = "example.com/x"; service X { rpc X(w.v1.M) returns (w.v1.E); }`,
	}, "", "x.proto")
	if len(files) != 1 {
		t.Errorf("got %d files", len(files))
	}
}

// Topics of imports are taken, wherever in the run the import comes.
func TestTopicOfALaterImport(t *testing.T) {
	t.Parallel()
	got := mistakes(t, map[string]string{
		"w.proto":     header + `message E { option (micro.v1.event) = { topic: "taken" }; }`,
		"x.proto":     `syntax = "proto3"; package x; import "taken.proto"; option go_package = "example.com/x"; message X { Taken taken = 1; }`,
		"taken.proto": taken,
	}, "w.proto", "x.proto")
	if want := `w.proto:4:13: topic "taken" of event E is that of Taken (taken.proto:2:17) already`; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// An annotation that only a later plugin knows is not dropped in silence.
func TestNewerAnnotations(t *testing.T) {
	t.Parallel()
	const name = "micro/v1/annotations.proto"
	later := contents(t, annotations, ".proto")[name]
	for _, message := range []string{"Event", "Retry", "Method"} {
		later = strings.Replace(later, "message "+message+" {", "message "+message+" {\n  string later = 99;", 1)
	}
	for kind, test := range map[string]struct{ source, want string }{
		"event": {
			`message E { option (micro.v1.event) = { topic: "t" later: "x" }; }`,
			`w.proto:4:13: event E has options`,
		},
		"retry": {
			`message E { option (micro.v1.event) = { topic: "t" retry: { later: "x" } }; }`,
			`w.proto:4:13: event E has options`,
		},
		"method": {
			`message M {} service S { rpc Do(M) returns (M) { option (micro.v1.method) = { later: "x" }; } }`,
			`w.proto:4:50: Do has options`,
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			want := "wrong annotations:\n" + test.want + " that this protoc-gen-micro does not know: install the version that its annotations.proto is from"
			got := mistakes(t, map[string]string{"w.proto": header + test.source, name: later}, "w.proto")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What was compiled without positions is reported by its file.
func TestWithoutPositions(t *testing.T) {
	t.Parallel()
	req, err := request(several, "", "a.proto", "b.proto")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range req.GetProtoFile() {
		file.SourceCodeInfo = nil
	}
	resp, err := respond(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.GetError(); !strings.Contains(got, "\na.proto: event Empty has no topic") || !strings.Contains(got, "of b.Twin (b.proto) already") {
		t.Error(got)
	}
}

// A service whose name begins with '_' has no registry that takes it.
func TestServiceNamedWithoutALetter(t *testing.T) {
	t.Parallel()
	got := mistakes(t, map[string]string{
		"u.proto": `syntax = "proto3"; option go_package = "example.com/u"; message M {} service _S { rpc Do(M) returns (M); }`,
	}, "u.proto")
	if want := "wrong annotations:\nu.proto:1:70: service _S cannot be found"; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
