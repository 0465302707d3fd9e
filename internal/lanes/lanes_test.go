package lanes_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/internal/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newPool returns a pool that the test closes.
func newPool[T any](t *testing.T, cfg lanes.Config[T]) *lanes.Pool[T] {
	t.Helper()
	p := lanes.New(t.Context(), cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
		defer cancel()
		if n := p.Close(ctx); n != 0 {
			t.Errorf("Close: %d handlers still run", n)
		}
	})
	return p
}

func add[T any](t *testing.T, q *lanes.Partition[T], offset int64, key string, v T) {
	t.Helper()
	var k []byte
	if key != "" {
		k = []byte(key)
	}
	if err := q.Add(t.Context(), offset, k, v); err != nil {
		t.Fatalf("Add(%d): %v", offset, err)
	}
}

// log collects what handlers did, in order.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) addf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *log) diff(want ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Diff(want, l.lines)
}

func TestRetryHoldsBackOnlyItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got log
		start := time.Now()
		p := newPool(t, lanes.Config[string]{Concurrency: 1, Window: 100, Handle: func(_ context.Context, v string, attempt int) (time.Duration, error) {
			got.addf("%v %s try %d", time.Since(start), v, attempt)
			if v == "a1" && attempt < 3 {
				return time.Minute, nil
			}
			return 0, nil
		}})
		q := p.Partition(lanes.Position{})
		add(t, q, 0, "a", "a1")
		add(t, q, 1, "a", "a2")
		add(t, q, 2, "b", "b1")
		add(t, q, 3, "", "none")
		synctest.Wait()
		if diff := got.diff("0s a1 try 1", "0s b1 try 1", "0s none try 1"); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(lanes.Position{Finished: []lanes.Run{{From: 2, To: 4}}}, q.Position()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Hour) // of the bubble
		if diff := got.diff("0s a1 try 1", "0s b1 try 1", "0s none try 1", "1m0s a1 try 2", "2m0s a1 try 3", "2m0s a2 try 1"); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(lanes.Position{Next: 4}, q.Position()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConcurrencyIsUsedAndNotExceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		p := newPool(t, lanes.Config[int]{Concurrency: 10, Window: 100, Handle: func(context.Context, int, int) (time.Duration, error) {
			running.Add(1)
			time.Sleep(time.Second)
			running.Add(-1)
			return 0, nil
		}})
		for range 2 { // the second time with workers that are parked or have ended
			for range 2 {
				q := p.Partition(lanes.Position{})
				for i := range 25 {
					add(t, q, int64(i), fmt.Sprint(i), i)
				}
			}
			for range 5 {
				synctest.Wait()
				if n := running.Load(); n != 10 {
					t.Errorf("%d handlers at once, want 10", n)
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if n := running.Load(); n != 0 {
				t.Errorf("%d handlers at once, want 0", n)
			}
		}
	})
}

func TestSteadyTrafficAllocatesNothing(t *testing.T) {
	handled := make(chan struct{})
	p := newPool(t, lanes.Config[int]{Concurrency: 4, Window: 100, Handle: func(context.Context, int, int) (time.Duration, error) {
		handled <- struct{}{}
		return 0, nil
	}})
	q := p.Partition(lanes.Position{})
	key, offset := []byte("key"), int64(0)
	if n := testing.AllocsPerRun(10_000, func() {
		add(t, q, offset, "", 0)
		if err := q.Add(t.Context(), offset+1, key, 0); err != nil {
			t.Fatal(err)
		}
		offset += 2
		<-handled
		<-handled
	}); n != 0 {
		t.Errorf("%v allocations for two messages", n)
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newPool(t, lanes.Config[int]{Concurrency: 10, Window: 3, Handle: func(_ context.Context, v, _ int) (time.Duration, error) {
			if v == 100 {
				<-release
			}
			return 0, nil
		}})
		q := p.Partition(lanes.Position{Next: 100})
		for i := range 3 {
			add(t, q, int64(100+i), "", 100+i)
		}
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.Add(ctx, 103, nil, 103); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Add into a full window = %v, want it to block until ctx ends", err)
		}
		if d := q.Blocked(); d != 0 {
			t.Errorf("Blocked = %v after Add has given up", d)
		}
		added := make(chan error)
		go func() { added <- q.Add(t.Context(), 103, nil, 103) }()
		time.Sleep(time.Minute) // of the bubble
		if d := q.Blocked(); d < time.Minute {
			t.Errorf("Blocked = %v after a minute", d)
		}
		close(release)
		if err := <-added; err != nil {
			t.Error(err)
		}
		if d := q.Blocked(); d != 0 {
			t.Errorf("Blocked = %v with room in the window", d)
		}
		synctest.Wait()
		// Nothing is unfinished: an offset far away is no problem.
		add(t, q, 1_000_000, "", 0)
		synctest.Wait()
		if diff := cmp.Diff(lanes.Position{Next: 1_000_001}, q.Position()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newPool(t, lanes.Config[int]{Concurrency: 10, Window: 4, Handle: func(_ context.Context, v, _ int) (time.Duration, error) {
			if v == 101 {
				<-release
			}
			return 0, nil
		}})
		q := p.Partition(lanes.Position{Next: 100})
		check := func(want lanes.State) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, q.State()); diff != "" {
				t.Error(diff)
			}
		}
		check(lanes.State{Next: 100, End: 100})
		for i := range 3 {
			add(t, q, int64(100+i), "", 100+i)
		}
		check(lanes.State{Next: 101, End: 103, Pending: 1})
		time.Sleep(time.Minute)
		check(lanes.State{Next: 101, End: 103, Pending: 1, Standing: time.Minute})
		added := make(chan error)
		go func() {
			add(t, q, 104, "", 104)
			added <- q.Add(t.Context(), 105, nil, 105)
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		check(lanes.State{Next: 101, End: 105, Pending: 1, Standing: time.Minute + time.Second, Blocked: time.Second})
		close(release)
		if err := <-added; err != nil {
			t.Error(err)
		}
		check(lanes.State{Next: 106, End: 106})
		time.Sleep(time.Hour)
		check(lanes.State{Next: 106, End: 106}) // nothing is pending, so nothing stands
	})
}

func TestSkipsWhatIsFinished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got log
		p := newPool(t, lanes.Config[int]{Concurrency: 1, Window: 100, Handle: func(_ context.Context, v, _ int) (time.Duration, error) {
			got.addf("%d", v)
			if v == 5 {
				return time.Hour, nil
			}
			return 0, nil
		}})
		from := lanes.Position{Next: 5, Finished: []lanes.Run{{From: 7, To: 9}, {From: 12, To: 20}, {From: 30, To: 31}}}
		q := p.Partition(lanes.DecodePosition(from.Next, from.Encode(3000)))
		for _, offset := range []int{3, 4, 5, 5, 6, 7, 8, 9, 8, 11, 12, 13} { // 10 does not exist
			add(t, q, int64(offset), "", offset)
			synctest.Wait()
		}
		if diff := got.diff("5", "6", "9", "11"); diff != "" {
			t.Error(diff)
		}
		want := lanes.Position{Next: 5, Finished: []lanes.Run{{From: 6, To: 20}, {From: 30, To: 31}}}
		if diff := cmp.Diff(want, q.Position()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPositionRunsOnIntoWhatWasFinishedBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, lanes.Config[int]{Window: 100, Handle: func(context.Context, int, int) (time.Duration, error) { return 0, nil }})
		q := p.Partition(lanes.Position{Next: 5, Finished: []lanes.Run{{From: 6, To: 8}}})
		add(t, q, 5, "", 5)
		synctest.Wait()
		if diff := cmp.Diff(lanes.Position{Next: 8}, q.Position()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	type testCase struct {
		name      string
		ends      bool // the handler ends with its context
		release   time.Duration
		took      time.Duration
		abandoned int
		want      lanes.Position
	}
	for _, tt := range []testCase{
		{name: "handler finishes in time", release: 3 * time.Second, took: 3 * time.Second, want: lanes.Position{Finished: []lanes.Run{{From: 1, To: 2}}}},
		{name: "handler ends with its context", ends: true, release: time.Hour, took: 10 * time.Second, want: lanes.Position{Finished: []lanes.Run{{From: 1, To: 2}}}},
		{name: "handler ignores its context", release: time.Hour, took: 11 * time.Second, abandoned: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got log
				p := lanes.New(t.Context(), lanes.Config[string]{Concurrency: 2, Window: 10, Handle: func(ctx context.Context, v string, _ int) (time.Duration, error) {
					got.addf("%s", v)
					if v == "backoff" {
						return 5 * time.Second, nil
					}
					var done <-chan struct{}
					if tt.ends {
						done = ctx.Done()
					}
					select {
					case <-time.After(tt.release):
					case <-done:
					}
					return 0, nil
				}})
				q := p.Partition(lanes.Position{})
				add(t, q, 0, "a", "backoff")
				synctest.Wait() // or two workers begin, and either may be first
				add(t, q, 1, "b", "slow")
				add(t, q, 2, "b", "waits")
				add(t, q, 3, "a", "waits")
				synctest.Wait()

				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if n := q.Drain(ctx); n != tt.abandoned {
					t.Errorf("Drain = %d handlers given up, want %d", n, tt.abandoned)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("Drain took %v, want %v", took, tt.took)
				}
				if err := q.Add(t.Context(), 4, nil, "late"); !errors.Is(err, lanes.ErrDrained) {
					t.Errorf("Add after Drain = %v, want ErrDrained", err)
				}
				if n := p.Close(ctx); n != tt.abandoned {
					t.Errorf("Close = %d handlers given up, want %d", n, tt.abandoned)
				}
				time.Sleep(2 * time.Hour) // of the bubble: the handler that was given up ends
				synctest.Wait()
				if diff := cmp.Diff(tt.want, q.Position()); diff != "" {
					t.Error(diff)
				}
				if diff := got.diff("backoff", "slow"); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		fail func() error
		want string
	}{
		{"error", func() error { return boom }, "boom"},
		{"Goexit", func() error { runtime.Goexit(); return nil }, "lanes: the handler ended its goroutine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got log
				p := newPool(t, lanes.Config[string]{Concurrency: 1, Window: 2, Handle: func(_ context.Context, v string, _ int) (time.Duration, error) {
					got.addf("%s", v)
					return 0, tt.fail()
				}})
				q := p.Partition(lanes.Position{})
				add(t, q, 0, "", "fails")
				add(t, q, 1, "", "never")
				if err := q.Add(t.Context(), 2, nil, "never"); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("Add = %v, want %q", err, tt.want)
				}
				<-p.Failed()
				if err := p.Err(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("Err = %v, want %q", err, tt.want)
				}
				synctest.Wait()
				if diff := got.diff("fails"); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(lanes.Position{}, q.Position()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestHandlerContextHasValuesAndNotTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		cancel()
		var got log
		p := lanes.New(ctx, lanes.Config[int]{Window: 1, Handle: func(ctx context.Context, _, _ int) (time.Duration, error) {
			got.addf("%v %v", ctx.Value(key{}), ctx.Err())
			return 0, nil
		}})
		q := p.Partition(lanes.Position{})
		add(t, q, 0, "", 0)
		synctest.Wait()
		p.Close(t.Context())
		if diff := got.diff("value <nil>"); diff != "" {
			t.Error(diff)
		}
	})
}
