package main_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	plugin "github.com/grpc-micro/micro/protoc-gen-micro"
	"github.com/grpc-micro/micro/pubsub"
)

// header is the first three lines of each wrong file; the fourth is the
// mistake's.
const header = `syntax = "proto3"; package w.v1;
import "micro/v1/annotations.proto"; import "google/protobuf/descriptor.proto";
option go_package = "example.com/w/v1;wv1";
`

var (
	long    = strings.Repeat("x", 250)
	service = strings.Repeat("S", 251)
)

// wrong has each mistake there is, and what is said about it.
var wrong = map[string]struct {
	source string // after the header
	want   string
}{
	"no topic": {
		`message E { option (micro.v1.event) = {}; }`,
		`w.proto:4:13: event E has no topic: add one, such as topic: "w.v1.e"`,
	},
	"no topic, but something else": {
		`message Outer { message E { option (micro.v1.event).dead_letter = true; } }`,
		`w.proto:4:29: event E has no topic: add one, such as topic: "w.v1.outer.e"`,
	},
	"topic with a space": {
		`message E { option (micro.v1.event) = { topic: "a topic" }; }`,
		`w.proto:4:13: topic "a topic" of event E is none that Kafka takes: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and neither "." nor ".."`,
	},
	"topic of two dots": {
		`message E { option (micro.v1.event) = { topic: ".." }; }`,
		`w.proto:4:13: topic ".." of event E is none that Kafka takes: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and neither "." nor ".."`,
	},
	"topic too long": {
		`message E { option (micro.v1.event) = { topic: "` + long + `" }; }`,
		`w.proto:4:13: topic "` + long + `" of event E is none that Kafka takes: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and neither "." nor ".."`,
	},
	"no room for the dead letters": {
		`message E { option (micro.v1.event) = { topic: "` + long[:245] + `" dead_letter: true }; }`,
		`w.proto:4:13: topic "` + long[:245] + `" of event E leaves no room for the name of its dead-letter topic, which ends in .dead and has 249 characters at the most: shorten it`,
	},
	"two events on one topic": {
		"message E { option (micro.v1.event) = { topic: \"t\" }; }\n" +
			`  message F { option (micro.v1.event).topic = "t"; }`,
		`w.proto:5:15: topic "t" of event F is that of w.v1.E (w.proto:4:13) already: give each event a topic of its own`,
	},
	"an event on the topic of an import": {
		"import \"taken.proto\";\n" +
			`message E { option (micro.v1.event) = { topic: "taken" }; }`,
		`w.proto:5:13: topic "taken" of event E is that of Taken (taken.proto:2:17) already: give each event a topic of its own`,
	},
	"topics that Kafka takes for one": {
		"message E { option (micro.v1.event) = { topic: \"a.b\" }; }\n" +
			`message F { option (micro.v1.event) = { topic: "a_b" }; }`,
		`w.proto:5:13: topic "a_b" of event F differs from "a.b" of w.v1.E (w.proto:4:13) only in '.' and '_', and Kafka refuses to have both: use another name`,
	},
	"encoding": {
		`message E { option (micro.v1.event) = { topic: "t" encoding: 7 }; }`,
		`w.proto:4:13: encoding 7 of event E is not known: use ENCODING_PROTO or ENCODING_JSON`,
	},
	"attempts": {
		`message E { option (micro.v1.event) = { topic: "t" retry: { attempts: -2 } }; }`,
		`w.proto:4:13: retry of event E has -2 attempts: use 1 or more, or -1 for no limit`,
	},
	"first pause of nothing": {
		`message E { option (micro.v1.event) = { topic: "t" retry: { initial_backoff: {} } }; }`,
		`w.proto:4:13: initial_backoff of event E is 0s: make it positive, or take it away`,
	},
	"longest pause below zero": {
		`message E { option (micro.v1.event) = { topic: "t" retry: { max_backoff: { nanos: -1 } } }; }`,
		`w.proto:4:13: max_backoff of event E is -1ns: make it positive, or take it away`,
	},
	"pauses that shrink": {
		`message E { option (micro.v1.event) = { topic: "t" retry: { initial_backoff: { seconds: 60 } max_backoff: { seconds: 1 } } }; }`,
		`w.proto:4:13: retry of event E begins with a pause of 1m0s, which is more than its longest, 1s: make max_backoff the longer one`,
	},
	"no duration": {
		`message E { option (micro.v1.event) = { topic: "t" retry: { initial_backoff: { seconds: 1 nanos: -1 } max_backoff: { nanos: 1000000000 } } }; }`,
		`w.proto:4:13: initial_backoff of event E is no duration that protobuf knows: seconds and nanos have the same sign, nanos stay below a second, and seconds below 10000 years
w.proto:4:13: max_backoff of event E is no duration that protobuf knows: seconds and nanos have the same sign, nanos stay below a second, and seconds below 10000 years`,
	},
	"300 years": {
		`message E { option (micro.v1.event) = { topic: "t" retry: { max_backoff: { seconds: 9467280000 } } }; }`,
		`w.proto:4:13: max_backoff of event E is more than the 292 years that Go can count: make it shorter, or take it away`,
	},
	"key of a number": {
		`message E { option (micro.v1.event) = { topic: "t" }; int64 n = 1 [(micro.v1.key) = true]; }`,
		`w.proto:4:68: n is a key of type int64: a key is one string, so annotate a field of type string`,
	},
	"key of bytes": {
		`message E { option (micro.v1.event) = { topic: "t" }; bytes b = 1 [(micro.v1.key) = true]; }`,
		`w.proto:4:68: b is a key of type bytes: a key is one string, so annotate a field of type string`,
	},
	"key of several strings": {
		`message E { option (micro.v1.event) = { topic: "t" }; repeated string s = 1 [deprecated = true, (micro.v1.key) = true]; }`,
		`w.proto:4:97: s is a key of type repeated string: a key is one string, so annotate a field of type string`,
	},
	"key of a map": {
		`message E { option (micro.v1.event) = { topic: "t" }; map<string, string> m = 1 [(micro.v1.key) = true]; }`,
		`w.proto:4:82: m is a key of type map: a key is one string, so annotate a field of type string`,
	},
	"key of a message": {
		`message E { option (micro.v1.event) = { topic: "t" }; E e = 1 [(micro.v1.key) = true]; }`,
		`w.proto:4:64: e is a key of type message: a key is one string, so annotate a field of type string`,
	},
	"two keys": {
		`message E { option (micro.v1.event) = { topic: "t" }; string a = 1 [(micro.v1.key) = true]; string b = 2 [(micro.v1.key) = true]; }`,
		`w.proto:4:107: b is a second key of E: an event has one, so make a field that holds both, or take one away`,
	},
	"key without an event": {
		`message M { string a = 1 [(micro.v1.key) = true]; }`,
		`w.proto:4:27: a is a key, but M is no event: add option (micro.v1.event) to the message, or take the key away`,
	},
	"key of a message in an event": {
		`message E { option (micro.v1.event) = { topic: "t" }; message M { string a = 1 [(micro.v1.key) = true]; } }`,
		`w.proto:4:81: a is a key, but M is no event: add option (micro.v1.event) to the message, or take the key away`,
	},
	"key of an extension": {
		`extend google.protobuf.FileOptions { string x = 50000 [(micro.v1.key) = true]; }`,
		`w.proto:4:56: x is an extension, which cannot be a key: annotate a field of the event itself`,
	},
	"key of a nested extension": {
		`message M { extend google.protobuf.FileOptions { string x = 50000 [(micro.v1.key) = true]; } }`,
		`w.proto:4:68: x is an extension, which cannot be a key: annotate a field of the event itself`,
	},
	"timeout of nothing": {
		`message M {} service S { rpc Do(M) returns (M) { option (micro.v1.method) = { timeout: {} }; } }`,
		`w.proto:4:50: timeout of Do is 0s: make it positive, or take it away`,
	},
	"timeout that is no duration": {
		`message M {} service S { rpc Do(stream M) returns (M) { option (micro.v1.method).timeout = { seconds: -1 nanos: 1 }; } }`,
		`w.proto:4:57: timeout of Do is no duration that protobuf knows: seconds and nanos have the same sign, nanos stay below a second, and seconds below 10000 years`,
	},
	"timeout of a stream": {
		`message M {} service S { rpc Do(M) returns (stream M) { option (micro.v1.method) = { timeout: { seconds: 1 } }; } }`,
		`w.proto:4:57: Do is a stream of responses, and has a timeout, which would cut it off: take it away, and let callers set a deadline`,
	},
	"timeout of a stream both ways": {
		`message M {} service S { rpc Do(stream M) returns (stream M) { option (micro.v1.method).timeout.seconds = 1; } }`,
		`w.proto:4:64: Do is a stream of responses, and has a timeout, which would cut it off: take it away, and let callers set a deadline`,
	},
	"service that cannot be found": {
		`message M {} service ` + service + ` { rpc Do(M) returns (M); }`,
		`w.proto:4:14: service w.v1.` + service + ` cannot be found by this name: registries take 1 to 255 characters, of which the first is a letter`,
	},
}

const taken = `syntax = "proto3"; import "micro/v1/annotations.proto"; option go_package = "example.com/t";
message Taken { option (micro.v1.event) = { topic: "taken" }; }`

// Each mistake is reported where it stands, and alone.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range wrong {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := mistakes(t, map[string]string{"w.proto": header + test.source, "taken.proto": taken}, "w.proto")
			if diff := cmp.Diff("wrong annotations:\n"+test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// mistakes returns what the plugin says to protoc.
func mistakes(t *testing.T, sources map[string]string, files ...string) string {
	t.Helper()
	req, err := request(sources, "", files...)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := respond(req)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetFile()) > 0 {
		t.Errorf("%d files were written beside the error", len(resp.GetFile()))
	}
	return resp.GetError()
}

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

func TestParameters(t *testing.T) {
	t.Parallel()
	sources := map[string]string{"w.proto": header + `message E { option (micro.v1.event) = { topic: "t" }; string reset = 1 [(micro.v1.key) = true]; }`}
	for param, want := range map[string]string{
		"":                             "example.com/w/v1/wv1micro/w.micro.go",
		"module=example.com/w":         "v1/wv1micro/w.micro.go",
		"paths=source_relative":        "wv1micro/w.micro.go",
		"Mw.proto=example.com/x;other": "example.com/x/othermicro/w.micro.go",
		"default_api_level=API_OPAQUE": "example.com/w/v1/wv1micro/w.micro.go",
		"apilevelMw.proto=API_OPAQUE":  "example.com/w/v1/wv1micro/w.micro.go",
	} {
		files := generated(t, sources, param, "w.proto")
		content, ok := files[want]
		if !ok || len(files) != 1 {
			t.Errorf("with %q: got %v, want %s", param, files, want)
		}
		// The two APIs name the getter of a field called reset differently.
		getter := "GetReset_()"
		if strings.Contains(param, "API_OPAQUE") {
			getter = "GetReset()"
		}
		if !strings.Contains(content, getter) {
			t.Errorf("with %q: no %s in\n%s", param, getter, content)
		}
	}
	for param, want := range map[string]string{
		"module=example.com/elsewhere": "example.com/elsewhere",
		"nonsense=1":                   `unknown parameter "nonsense": use module=`,
		"paths=nowhere":                `unknown path type "nowhere"`,
	} {
		req, err := request(sources, param, "w.proto")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := respond(req)
		if err == nil {
			err = errors.New(resp.GetError())
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("with %q: got %v, want %s", param, err, want)
		}
	}
}

// The plugin takes the topics that package pubsub takes, and no others.
func TestValidTopic(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "...", "a", "a.b_c-D9", "ä", "a b", "a/b", "a\x00", "a\xff", long[:249], long} {
		if got, want := plugin.ValidTopic(name), pubsubTakes(name); got != want {
			t.Errorf("%q: valid is %v, and pubsub says %v", name, got, want)
		}
	}
}

func pubsubTakes(topic string) bool {
	return (&pubsub.Message{Topic: topic, Value: []byte{}}).Check() == nil
}

// Nothing but annotations makes a file.
func TestNothingToGenerate(t *testing.T) {
	t.Parallel()
	if files := generated(t, nil, "", "common/v1/common.proto"); len(files) != 0 {
		t.Errorf("got %v", files)
	}
	req, err := request(nil, "", "common/v1/common.proto")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := respond(req)
	if err != nil || resp.GetSupportedFeatures() != 3 || resp.GetMaximumEdition() != 1001 {
		t.Errorf("got %v, %v", resp, err)
	}
}
