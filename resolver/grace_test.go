package resolver_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

// feed is a Discovery that yields what a test sends: IDs, or an error. IDs that
// end in ! are draining.
type feed struct{ next chan any }

func newFeed() (*feed, *scripted) {
	f := &feed{make(chan any)}
	return f, &scripted{func(ctx context.Context, yield func([]*resolver.Instance, error) bool) {
		for {
			select {
			case next := <-f.next:
				if err, ok := next.(error); ok {
					yield(nil, err)
					return
				}
				if !yield(instances(next.(string)), nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}}
}

func instances(ids string) []*resolver.Instance {
	var insts []*resolver.Instance
	for id := range strings.FieldsSeq(ids) {
		id, draining := strings.CutSuffix(id, "!")
		inst := instance(id, "host-"+id+":1")
		inst.Draining = draining
		insts = append(insts, inst)
	}
	return insts
}

func TestMassDisappearance(t *testing.T) {
	t.Parallel()
	// What the registry says, and what a client is told of it. The time is that
	// since the step before.
	type step struct {
		after time.Duration
		says  any
		told  string // nothing, if it is empty
	}
	const none = "resolver: no instances of svc…"
	for name, steps := range map[string][]step{
		"without an outage": {
			{says: "a b c d", told: "[a,b,c,d]"},
			{says: "a", told: "[a]"},
			{says: "", told: "[]"},
		},
		"held until the end of the grace": {
			{says: "a b c d", told: "[a,b,c,d]"},
			{says: errAway},
			{after: time.Minute, says: "a"},
			{after: 30*time.Second - 1},
			{after: 1, told: "[a]"},
		},
		"all of one": {
			{says: "a", told: "[a]"},
			{says: errAway},
			{says: ""},
			{after: 30 * time.Second, told: "[]"},
		},
		"they come back one by one": {
			{says: "a b c d", told: "[a,b,c,d]"},
			{says: errAway},
			{says: ""},
			{says: "c"},
			{says: "a c new", told: "[a,b,c,d,new]"},
			{says: "a b c new"},
			{after: 30 * time.Second, told: "[a,b,c,new]"},
		},
		"a few are believed to be gone": {
			{says: "a b c d", told: "[a,b,c,d]"},
			{says: errAway},
			{says: "a b", told: "[a,b]"},
		},
		"their leases end some time after the outage": {
			{says: "a b c d", told: "[a,b,c,d]"},
			{says: errAway},
			{says: "a b c d"},
			{after: 15 * time.Second, says: "b c d", told: "[b,c,d]"},
			{says: "d", told: "[a,b,c,d]"}, // that was too many: a, too, is not believed to be gone
			{after: 15 * time.Second, told: "[d]"},
		},
		"what was draining is gone": {
			{says: "a! b c", told: "[a,b,c]"},
			{says: errAway},
			{says: "", told: "[b,c]"},
			{after: 30 * time.Second, told: "[]"},
		},
		"what drains after the outage may go": {
			{says: "a b", told: "[a,b]"},
			{says: errAway},
			{says: "a! b!", told: "[a,b]"},
			{says: "", told: "[]"},
		},
		"another outage": {
			{says: "a b", told: "[a,b]"},
			{says: errAway},
			{says: ""},
			{says: errAway},
			{after: time.Hour},
			{says: "a"},
			{after: 30*time.Second - 1},
			{after: 1, told: "[a]"},
		},
		"after the grace all is as ever": {
			{says: "a b", told: "[a,b]"},
			{says: errAway},
			{says: "a b"},
			{after: 30 * time.Second},
			{says: "", told: "[]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				feed, d := newFeed()
				cc := &recorder{}
				defer build(t, builder(d, resolver.WithLinger(0)), cc).Close()
				for _, s := range steps {
					time.Sleep(s.after)
					if s.says != nil {
						feed.next <- s.says
					}
					switch s.told {
					case "":
						cc.expect(t)
					case "[]":
						cc.expect(t, "[]", none)
					default:
						cc.expect(t, s.told)
					}
				}
			})
		})
	}
}

func TestWithGrace(t *testing.T) {
	t.Parallel()
	for grace, want := range map[time.Duration]int{0: 0, time.Minute: 2} {
		synctest.Test(t, func(t *testing.T) {
			feed, d := newFeed()
			var log bytes.Buffer
			b := resolver.NewBuilder(d, resolver.WithGrace(grace), resolver.WithLinger(0), resolver.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			r := buildFor(t, "grace", b, &recorder{})
			for _, next := range []any{"a b", errAway, ""} {
				feed.next <- next
			}
			time.Sleep(59 * time.Second)
			if got := stateOf(t, "grace"); got.Instances != want || got.Held != want {
				t.Errorf("grace %v: %d instances of which %d are held, want %d", grace, got.Instances, got.Held, want)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if got := stateOf(t, "grace"); got.Instances != 0 || got.Held != 0 {
				t.Errorf("grace %v: %d instances of which %d are held, after it", grace, got.Instances, got.Held)
			}
			r.Close()
			synctest.Wait()
			if got, want := strings.Count(log.String(), "kept=2")+strings.Count(log.String(), "dropped=2"), want; got != want {
				t.Errorf("grace %v: %d lines about what is held, want %d, in\n%s", grace, got, want, &log)
			}
		})
	}
}
