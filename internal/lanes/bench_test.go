package lanes_test

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/lanes"
)

// BenchmarkAdd measures a message from Add to its finish, with a handler that
// does nothing: what the lanes themselves cost.
func BenchmarkAdd(b *testing.B) {
	for _, bb := range []struct {
		name        string
		concurrency int
		keys        int // 0: without keys
	}{
		{"no keys", 16, 0},
		{"one key", 16, 1},
		{"500 keys", 16, 500},
		{"100000 keys", 16, 100_000},
		{"500 keys, one worker", 1, 500},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var handled atomic.Int64
			done := make(chan struct{})
			p := lanes.New(b.Context(), lanes.Config[int]{Concurrency: bb.concurrency, Window: 20_000, Handle: func(context.Context, int, int) (time.Duration, error) {
				if handled.Add(1) == int64(b.N) {
					close(done)
				}
				return 0, nil
			}})
			defer p.Close(b.Context())
			q := p.Partition(lanes.Position{})
			keys := make([][]byte, max(bb.keys, 1))
			if bb.keys > 0 {
				for i := range keys {
					keys[i] = binary.BigEndian.AppendUint64(nil, uint64(i))
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := q.Add(b.Context(), int64(i), keys[i%len(keys)], i); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmsg/s")
		})
	}
}

// BenchmarkWaitingHandler measures handlers that wait 300 µs, as those that
// call a database do, one lane a key.
func BenchmarkWaitingHandler(b *testing.B) {
	var handled atomic.Int64
	done := make(chan struct{})
	p := lanes.New(b.Context(), lanes.Config[int]{Concurrency: 500, Window: 20_000, Handle: func(context.Context, int, int) (time.Duration, error) {
		time.Sleep(300 * time.Microsecond)
		if handled.Add(1) == int64(b.N) {
			close(done)
		}
		return 0, nil
	}})
	defer p.Close(b.Context())
	q := p.Partition(lanes.Position{})
	keys := make([][]byte, 500)
	for i := range keys {
		keys[i] = binary.BigEndian.AppendUint64(nil, uint64(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := q.Add(b.Context(), int64(i), keys[i%len(keys)], i); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e3, "kmsg/s")
}

// BenchmarkPosition measures what a commit costs with every second message of a
// full window finished.
func BenchmarkPosition(b *testing.B) {
	p := lanes.New(b.Context(), lanes.Config[int]{Concurrency: 1, Window: 20_000, Handle: func(_ context.Context, v, _ int) (time.Duration, error) {
		return time.Hour * time.Duration((v+1)%2), nil
	}})
	defer p.Close(b.Context())
	q := p.Partition(lanes.Position{})
	for i := range 20_000 {
		if err := q.Add(b.Context(), int64(i), nil, i); err != nil {
			b.Fatal(err)
		}
	}
	for len(q.Position().Finished) < 10_000 {
		<-q.Changed()
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = q.Position().Encode(3000)
	}
}
