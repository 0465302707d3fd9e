package lanes_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/internal/lanes"
)

// model checks what must hold of every message, whatever the order of events.
type model struct {
	t  *testing.T
	mu sync.Mutex

	running  int            // handlers now
	busy     map[string]int // handlers a partition and key now
	last     map[string]int64
	finished map[int]map[int64]bool // a partition's offsets whose handler finished
	handled  int
}

func (m *model) begin(limit int, msg message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running++; m.running > limit {
		m.t.Errorf("%d handlers at once, the limit is %d", m.running, limit)
	}
	if m.finished[msg.partition][msg.offset] {
		m.t.Errorf("%v is handled again", msg)
	}
	if msg.key == "" {
		return
	}
	lane := fmt.Sprint(msg.partition, msg.key)
	if m.busy[lane]++; m.busy[lane] > 1 {
		m.t.Errorf("%v: two handlers at once for the key", msg)
	}
	if m.last[lane] > msg.offset {
		m.t.Errorf("%v comes after %d", msg, m.last[lane])
	}
	m.last[lane] = msg.offset
}

func (m *model) end(msg message, finished bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	if msg.key != "" {
		m.busy[fmt.Sprint(msg.partition, msg.key)]--
	}
	if finished {
		m.finished[msg.partition][msg.offset] = true
		m.handled++
	}
}

// holds checks that a position covers finished messages only, and all of them.
func (m *model) holds(partition int, log []message, pos lanes.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	covered := func(offset int64) bool {
		for _, r := range pos.Finished {
			if r.From <= offset && offset < r.To {
				return true
			}
		}
		return offset < pos.Next
	}
	for _, msg := range log {
		if m.finished[partition][msg.offset] != covered(msg.offset) {
			m.t.Errorf("position %v: offset %d is finished: %v, covered: %v", pos, msg.offset, !covered(msg.offset), covered(msg.offset))
			return
		}
	}
}

type message struct {
	partition int
	offset    int64
	key       string
}

// TestModel runs random messages through random partitions that are drained and
// taken over by another pool again and again, as in rebalances.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, seed))) })
		})
	}
}

func runModel(t *testing.T, r *rand.Rand) {
	const partitions = 3
	m := &model{t: t, busy: make(map[string]int), last: make(map[string]int64), finished: make(map[int]map[int64]bool)}
	logs := make([][]message, partitions)
	total := 0
	for i := range logs {
		m.finished[i] = make(map[int64]bool)
		offset := int64(0)
		for range 200 + r.IntN(200) {
			if r.IntN(10) == 0 {
				offset += int64(r.IntN(300)) // a gap
			}
			key := ""
			if n := r.IntN(30); n > 0 {
				key = fmt.Sprint("key", n)
			}
			logs[i] = append(logs[i], message{i, offset, key})
			offset++
			total++
		}
	}

	concurrency, window := 1+r.IntN(20), 1+r.IntN(200)
	committed := make([]lanes.Position, partitions)
	for generation := 0; m.handled < total; generation++ {
		if generation > 500 {
			t.Fatalf("%d of %d handled after %d generations", m.handled, total, generation)
		}
		seed := r.Uint64()
		pool := lanes.New(t.Context(), lanes.Config[message]{Concurrency: concurrency, Window: window, Handle: func(_ context.Context, msg message, attempt int) (time.Duration, error) {
			m.begin(concurrency, msg)
			luck := rand.New(rand.NewPCG(seed+uint64(attempt), uint64(msg.offset)))
			time.Sleep(time.Duration(luck.IntN(3)) * time.Millisecond)
			if luck.IntN(5) == 0 {
				m.end(msg, false)
				return time.Duration(1+luck.IntN(20)) * time.Millisecond, nil
			}
			m.end(msg, true)
			return 0, nil
		}})

		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+r.IntN(200))*time.Millisecond)
		var all sync.WaitGroup
		for i := range partitions {
			all.Go(func() {
				q := pool.Partition(committed[i])
				for _, msg := range logs[i] {
					if msg.offset < committed[i].Next {
						continue
					}
					var key []byte
					if msg.key != "" {
						key = []byte(msg.key)
					}
					if err := q.Add(ctx, msg.offset, key, msg); err != nil {
						break
					}
					if pos := q.Position(); len(pos.Finished) > 0 && pos.Finished[len(pos.Finished)-1].To > pos.Next+int64(window)+1 &&
						pos.Finished[len(pos.Finished)-1].To > msg.offset+1+int64(window) {
						t.Errorf("position %v with a window of %d", pos, window)
					}
				}
				<-ctx.Done()
				if n := q.Drain(t.Context()); n != 0 {
					t.Errorf("Drain gave up %d handlers", n)
				}
				pos := q.Position()
				m.holds(i, logs[i], pos)
				committed[i] = lanes.DecodePosition(pos.Next, pos.Encode(1<<20))
			})
		}
		all.Wait()
		cancel()
		if n := pool.Close(t.Context()); n != 0 {
			t.Errorf("Close gave up %d handlers", n)
		}
	}
}
