package outbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
	"github.com/grpc-micro/micro/pubsub/outbox"
)

// BenchmarkRelay publishes what is in the outbox: b.N events of 100 bytes and 1,000
// keys, from SQLite and from the PostgreSQL server that POSTGRES_URL names, into
// memory and into Kafka.
func BenchmarkRelay(b *testing.B) {
	sources := []struct {
		name    string
		dialect outbox.Dialect
		source  string
	}{{"SQLite", outbox.SQLite, "file:" + filepath.Join(b.TempDir(), "bench.db") + "?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"}}
	if url := os.Getenv("POSTGRES_URL"); url != "" {
		sources = append(sources, struct {
			name    string
			dialect outbox.Dialect
			source  string
		}{"PostgreSQL", outbox.PostgreSQL, url})
	}
	for _, from := range sources {
		b.Run(from.name+"/memory", func(b *testing.B) {
			broker := pubsub.NewMemory(pubsub.WithPartitions(8))
			b.Cleanup(func() { _ = broker.Close(context.Background()) })
			benchRelay(newSetup(b, from.dialect, from.source), b, broker)
		})
		b.Run(from.name+"/kafka", func(b *testing.B) {
			k, err := dev.StartKafka(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = k.Close() })
			broker, err := kafka.New(k.Addrs(), kafka.WithAutoCreate(8, 1), kafka.WithLogger(quiet))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = broker.Close(context.Background()) })
			benchRelay(newSetup(b, from.dialect, from.source), b, broker)
		})
	}
}

func benchRelay(s *setup, b *testing.B, broker pubsub.Broker) {
	b.Helper()
	value := make([]byte, 100)
	for n := 0; n < b.N; {
		var msgs []*pubsub.Message
		for ; len(msgs) < 500 && n < b.N; n++ {
			msgs = append(msgs, &pubsub.Message{Topic: "t", Key: fmt.Append(nil, "key", n%1000), Value: value})
		}
		s.write(msgs...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	relay, stop := s.relay(broker)
	wait.Until(b, "all events to be published", func() bool { return relay.Stats().Published == int64(b.N) })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e3, "kmsg/s")
	stop()
}
