package codec_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/grpc-micro/micro/codec"
)

type order struct {
	ID    string   `json:"id"`
	Items []string `json:"items"`
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	request := fullRequest()
	for _, c := range []codec.Codec{codec.Proto, codec.JSON} {
		for name, test := range map[string]struct{ in, out proto.Message }{
			"message": {request, &grpc_testing.SimpleRequest{}},
			"empty":   {&grpc_testing.SimpleRequest{}, &grpc_testing.SimpleRequest{}},
			"known":   {structpb.NewStringValue("x"), &structpb.Value{}},
		} {
			t.Run(c.Name()+"/"+name, func(t *testing.T) {
				t.Parallel()
				data, err := c.Append([]byte("before"), test.in)
				if err != nil {
					t.Fatal(err)
				}
				encoded, ok := bytes.CutPrefix(data, []byte("before"))
				if !ok {
					t.Fatalf("Append lost what was there: %q", data)
				}
				if err := c.Unmarshal(encoded, test.out); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.in, test.out, protocmp.Transform()); diff != "" {
					t.Error(diff)
				}
				clear(encoded)
				if diff := cmp.Diff(test.in, test.out, protocmp.Transform()); diff != "" {
					t.Errorf("Unmarshal kept a reference to its input: %s", diff)
				}
			})
		}
	}
}

func TestJSONOfPlainStructs(t *testing.T) {
	t.Parallel()
	in := &order{ID: "7", Items: []string{"a", "b"}}
	data, err := codec.JSON.Append(nil, in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"7","items":["a","b"]}`; string(data) != want {
		t.Errorf("got %s, want %s", data, want)
	}
	out := &order{}
	if err := codec.JSON.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
}

func TestNewerWriter(t *testing.T) {
	t.Parallel()
	var request grpc_testing.SimpleRequest
	if err := codec.JSON.Unmarshal([]byte(`{"responseSize":3,"addedLater":{"x":[1]}}`), &request); err != nil {
		t.Fatal(err)
	}
	if request.GetResponseSize() != 3 {
		t.Errorf("got %v", &request)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		codec codec.Codec
		data  string
		into  any
	}{
		"proto: cut off":       {codec.Proto, "\x0a\xff", &grpc_testing.SimpleRequest{}},
		"proto: not a message": {codec.Proto, "", &order{}},
		"json: cut off":        {codec.JSON, `{"responseSize":`, &grpc_testing.SimpleRequest{}},
		"json: wrong type":     {codec.JSON, `{"responseSize":"x"}`, &grpc_testing.SimpleRequest{}},
		"json: nothing":        {codec.JSON, "", &grpc_testing.SimpleRequest{}},
		"json: plain cut off":  {codec.JSON, `{"id"`, &order{}},
		"json: not a pointer":  {codec.JSON, `{}`, order{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.codec.Unmarshal([]byte(test.data), test.into)
			if err == nil || !strings.HasPrefix(err.Error(), "codec: ") {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestBadValue(t *testing.T) {
	t.Parallel()
	invalid := &grpc_testing.SimpleResponse{Username: "\xff"}
	for name, test := range map[string]struct {
		codec codec.Codec
		value any
	}{
		"proto: plain struct": {codec.Proto, &order{}},
		"proto: nil":          {codec.Proto, nil},
		"proto: not UTF-8":    {codec.Proto, invalid},
		"json: not UTF-8":     {codec.JSON, invalid},
		"json: a channel":     {codec.JSON, make(chan int)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := test.codec.Append([]byte("kept"), test.value)
			if err == nil || !strings.HasPrefix(err.Error(), "codec: ") {
				t.Errorf("got error %v", err)
			}
			if string(out) != "kept" {
				t.Errorf("got %q beside the error, want what was there", out)
			}
		})
	}
}

func TestForContentType(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]codec.Codec{
		"application/protobuf":                codec.Proto,
		"application/x-protobuf":              codec.Proto,
		"application/json":                    codec.JSON,
		"application/json; charset=utf-8":     codec.JSON,
		"Application/JSON ;charset=\"utf-8\"": codec.JSON,
		" application/protobuf":               codec.Proto,
		"application/cloudevents+json":        nil,
		"application/json+x":                  nil,
		"json":                                nil,
		"":                                    nil,
		";":                                   nil,
	} {
		got, ok := codec.ForContentType(contentType)
		if got != want || ok != (want != nil) {
			t.Errorf("ForContentType(%q) = %v, %t, want %v", contentType, got, ok, want)
		}
	}
}

// named is JSON by another name.
type named struct {
	codec.Codec

	name  string
	types []string
}

func (n named) Name() string           { return n.name }
func (n named) ContentTypes() []string { return n.types }

func init() {
	codec.Register(named{codec.JSON, "test-codec", []string{"application/x-test", "application/json"}})
}

func TestRegister(t *testing.T) {
	t.Parallel()
	if encoding.GetCodecV2("test-codec") == nil {
		t.Error("grpc does not know the codec")
	}
	if c, _ := codec.ForContentType("application/x-test"); c == nil || c.Name() != "test-codec" {
		t.Errorf("application/x-test: got %v", c)
	}
	if c, _ := codec.ForContentType("application/json"); c != codec.JSON {
		t.Errorf("another codec took application/json over: %v", c)
	}
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"proto", "", "JSON", "a+b", "a;b", "a b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "codec: ") {
					t.Errorf("Register(%q): recovered %v", name, r)
				}
			}()
			codec.Register(named{codec.JSON, name, nil})
		})
	}
	if got := fmt.Sprintf("%T", encoding.GetCodecV2("proto")); got != "*proto.codecV2" {
		t.Errorf("proto is %s, want grpc's own", got)
	}
}
