package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/compiler/protogen"
)

// The retry that fits most: three tries, quickly. What fails more often than
// that is not helped by more calls, and the throttle sees that: it stops
// retrying when more than about one call in ten fails.
const (
	maxAttempts    = 3
	initialBackoff = 50 * time.Millisecond
	maxBackoff     = time.Second
	multiplier     = 2
	maxTokens      = 100
	tokenRatio     = 0.1
)

// What a service config is made of, by gRFC A2 and A6.

type methodConfig struct {
	Names   []methodName `json:"name"`
	Timeout string       `json:"timeout,omitempty"`
	Retry   *retryPolicy `json:"retryPolicy,omitempty"`
}

type methodName struct {
	Service string `json:"service"`
	Method  string `json:"method"`
}

type retryPolicy struct {
	MaxAttempts    int      `json:"maxAttempts"`
	InitialBackoff string   `json:"initialBackoff"`
	MaxBackoff     string   `json:"maxBackoff"`
	Multiplier     float64  `json:"backoffMultiplier"`
	Codes          []string `json:"retryableStatusCodes"`
}

type throttling struct {
	MaxTokens  float64 `json:"maxTokens"`
	TokenRatio float64 `json:"tokenRatio"`
}

// serviceConfig returns what the .proto says of a service's methods, a line a
// method, or "" where it says nothing and micro's own default will do.
func serviceConfig(s *protogen.Service) string {
	var methods []string
	retries := false
	for _, m := range s.Methods {
		c := methodConfig{Names: []methodName{{string(s.Desc.FullName()), string(m.Desc.Name())}}}
		if d := timeoutOf(m); d > 0 {
			c.Timeout = seconds(d)
		}
		// A stream of requests may be long gone from the buffer when it fails.
		if repeatable(m) && !m.Desc.IsStreamingClient() {
			c.Retry = &retryPolicy{maxAttempts, seconds(initialBackoff), seconds(maxBackoff), multiplier, []string{"UNAVAILABLE"}}
			retries = true
		}
		if c.Timeout != "" || c.Retry != nil {
			methods = append(methods, "\t\t"+marshal(c))
		}
	}
	if methods == nil {
		return ""
	}
	fields := []string{
		`"loadBalancingConfig": [{"micro_round_robin": {}}]`,
		`"healthCheckConfig": {"serviceName": ""}`,
		"\"methodConfig\": [\n" + strings.Join(methods, ",\n") + "\n\t]",
	}
	if retries {
		fields = append(fields, `"retryThrottling": `+marshal(throttling{maxTokens, tokenRatio}))
	}
	return "{\n\t" + strings.Join(fields, ",\n\t") + "\n}"
}

func marshal(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // it consists of strings and numbers
	}
	return string(data)
}

// seconds writes a duration as protobuf's JSON does: "0.5s".
func seconds(d time.Duration) string {
	text := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".") + "s"
}
