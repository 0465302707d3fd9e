package main_test

import (
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
