package main_test

import (
	"errors"
	"strings"
	"testing"
)

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
