package kafka_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, want string }{
		{"kafka://h1", ""},
		{"kafka://h1:9092,h2:9093", ""},
		{"kafka://user:pass@h1,h2?tls=true&sasl=scram-sha-512&client_id=me&compression=zstd&connect_timeout=1s&publish_timeout=2s&session_timeout=6s&auto_create=3&replication=2", ""},
		{"kafka://h1?tls=false&compression=none", ""},

		{"kafka://", `address ""`},
		{"kafka://h1,,h2", `address ""`},
		{"kafka://h1:nope", "port"},
		{"kafka://h1:99999", `address "h1:99999"`},
		{"kafka://h1/path", `path "/path"`},
		{"kafka://h1?unknown=1&also=2", `unknown parameter "also"`},
		{"kafka://h1?unknown=1", "known are auto_create, ca,"},
		{"kafka://h1?tls=yes", "tls=yes: give true or false"},
		{"kafka://h1?tls=true&tls=true", `"tls" is given 2 times`},
		{"kafka://h1?ca=" + empty, "need tls=true"},
		{"kafka://h1?tls=true&ca=" + empty, "no PEM certificate"},
		{"kafka://h1?tls=true&ca=/nowhere.pem", "/nowhere.pem"},
		{"kafka://h1?tls=true&cert=/nowhere.pem", "cert=/nowhere.pem"},
		{"kafka://h1?sasl=plain", "sasl needs a user"},
		{"kafka://u:secret@h1", "a user without sasl"},
		{"kafka://u:secret@h1?sasl=kerberos", `sasl mechanism "kerberos": use plain,`},
		{"kafka://:secret@h1?sasl=plain", "without a user"},
		{"kafka://h1?compression=brotli", `compression "brotli": use gzip,`},
		{"kafka://h1?replication=3", "replication needs auto_create"},
		{"kafka://h1?auto_create=many", "auto_create=many: give a number"},
		{"kafka://h1?auto_create=-1", "auto create with -1 partitions"},
		{"kafka://h1?auto_create=1&replication=-1", "replication factor -1"},
		{"kafka://h1?connect_timeout=soon", "connect_timeout=soon: give a duration"},
		{"kafka://h1?connect_timeout=0s", "connect timeout 0s"},
		{"kafka://h1?publish_timeout=-1s", "publish timeout -1s"},
		{"kafka://h1?session_timeout=10ms", "session timeout 10ms"},
	} {
		b, err := pubsub.Open(tt.url)
		if err == nil {
			closeBroker(t, b)
		}
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.url, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want %q", tt.url, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: error %v shows the password", tt.url, err)
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		addrs []string
		opt   kafka.Option
		want  string
	}{
		{nil, kafka.WithClientID("x"), "no address"},
		{[]string{"kafka://h"}, kafka.WithClientID("x"), `address "kafka://h": give host:port`},
		{[]string{":9092"}, kafka.WithClientID("x"), `address ":9092": give host:port`},
		{[]string{"h"}, nil, "nil Option"},
		{[]string{"h"}, kafka.WithLogger(nil), "nil logger"},
		{[]string{"h"}, kafka.WithConnectTimeout(-time.Second), "connect timeout -1s"},
		{[]string{"h"}, kafka.WithAutoCreate(1<<40, 1), "partitions"},
	} {
		if _, err := kafka.New(tt.addrs, tt.opt); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%v): error %v, want %q", tt.addrs, err, tt.want)
		}
	}
}
