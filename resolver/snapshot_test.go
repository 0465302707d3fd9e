package resolver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/resolver"
)

// save runs a client until it has saved what the registry says.
func save(t *testing.T, dir, service string, insts ...*resolver.Instance) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &scripted{func(ctx context.Context, yield func([]*resolver.Instance, error) bool) {
			if yield(insts, nil) {
				<-ctx.Done()
			}
		}}
		r := buildFor(t, service, builder(d, resolver.WithSnapshots(dir), resolver.WithLinger(0)), &recorder{})
		synctest.Wait()
		r.Close()
	})
}

// A client that starts while the registry is away calls the instances that an
// earlier one knew, and goes over to what the registry says as soon as it does.
func TestColdStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	full := &resolver.Instance{
		ID: "10.0.0.1:80", Service: "cold", Version: "v1", Zone: "z", Weight: 3, Draining: true,
		Addrs: []string{"h:1", "[::1]:1"}, Labels: map[string]string{"lane": "x"}, Local: "host/name",
	}
	other := &resolver.Instance{ID: "b", Service: "cold", Addrs: []string{"h:2"}}
	for name, silent := range map[string]bool{"away": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			save(t, dir, "cold", full, other)
			synctest.Test(t, func(t *testing.T) {
				feed, d := newFeed()
				cc := &recorder{}
				r := buildFor(t, "cold", builder(d, resolver.WithSnapshots(dir), resolver.WithLinger(0)), cc)
				cc.expect(t) // the registry is asked first
				if silent {
					time.Sleep(2*time.Second + 1)
				} else {
					feed.next <- errAway
				}
				synctest.Wait()
				cc.mu.Lock()
				eps := cc.last.Endpoints
				cc.events = nil
				cc.mu.Unlock()
				if len(eps) != 2 {
					t.Fatalf("%d endpoints", len(eps))
				}
				for i, want := range []*resolver.Instance{full, other} {
					if diff := cmp.Diff(want, resolver.InstanceOf(eps[i])); diff != "" {
						t.Errorf("(-saved +recalled):\n%s", diff)
					}
				}
				s := stateOf(t, "cold")
				if s.Watching || !s.Known || s.Instances != 2 || s.Saved.IsZero() || s.Staleness() != time.Since(s.Saved) {
					t.Errorf("state %+v", s)
				}
				feed.next <- "a b c"
				cc.expect(t, "[a,b,c]") // one of two is back: the other one is not held
				if s := stateOf(t, "cold"); !s.Watching || !s.Saved.IsZero() || s.Staleness() != 0 {
					t.Errorf("state %+v", s)
				}
				r.Close()
			})
		})
	}
}

// What is known is not replaced by what was saved, and what was saved not by
// nothing.
func TestSnapshotIsForAColdStartOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	save(t, dir, "cold-only", instance("saved", "h:1"))
	synctest.Test(t, func(t *testing.T) {
		feed, d := newFeed()
		cc := &recorder{}
		r := buildFor(t, "cold-only", builder(d, resolver.WithSnapshots(dir), resolver.WithLinger(0)), cc)
		feed.next <- "a"
		cc.expect(t, "[a]")
		feed.next <- errAway
		time.Sleep(time.Hour)
		cc.expect(t)
		r.Close()
	})
	save(t, dir, "cold-only") // a service without instances
	synctest.Test(t, func(t *testing.T) {
		feed, d := newFeed()
		cc := &recorder{}
		r := buildFor(t, "cold-only", builder(d, resolver.WithSnapshots(dir), resolver.WithLinger(0)), cc)
		feed.next <- errAway
		cc.expect(t, "resolver: watch cold-only: the registry is away")
		r.Close()
	})
}

func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	save(t, dir, "damaged", instance("a", "h:1"), instance("b", "h:2"))
	file := filepath.Join(dir, "damaged.instances")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	header, body, _ := bytes.Cut(good, []byte("\n"))
	signed := func(change func(map[string]any)) []byte {
		var content map[string]any
		if err := json.Unmarshal(body, &content); err != nil {
			t.Fatal(err)
		}
		change(content)
		data, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, "micro-instances 1 %08x\n%s", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), data)
	}
	for name, data := range map[string][]byte{
		"empty":         {},
		"half":          good[:len(good)/2],
		"only a header": header,
		"another file":  []byte("once upon a time\n"),
		"flipped bit":   append(append([]byte{}, good[:len(good)-2]...), good[len(good)-2]^1, good[len(good)-1]),
		"later version": bytes.Replace(good, []byte(" 1 "), []byte(" 2 "), 1),
		"no JSON":       fmt.Appendf(nil, "micro-instances 1 %08x\n%s", crc32.Checksum([]byte("{"), crc32.MakeTable(crc32.Castagnoli)), "{"),
		"another name":  signed(func(c map[string]any) { c["service"] = "other" }),
		"no name":       signed(func(c map[string]any) { c["service"] = "" }),
		"no address":    signed(func(c map[string]any) { c["instances"].([]any)[0].(map[string]any)["addrs"] = nil }),
		"twice":         signed(func(c map[string]any) { c["instances"].([]any)[0].(map[string]any)["id"] = "b" }),
		"not sorted":    signed(func(c map[string]any) { c["instances"].([]any)[0].(map[string]any)["id"] = "c" }),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			feed, d := newFeed()
			cc := &recorder{}
			var log bytes.Buffer
			r := buildFor(t, "damaged", resolver.NewBuilder(d, resolver.WithSnapshots(dir), resolver.WithLinger(0), resolver.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))), cc)
			feed.next <- errAway
			cc.expect(t, "resolver: watch damaged: the registry is away")
			r.Close()
			synctest.Wait()
			if !strings.Contains(log.String(), "ignoring a snapshot") || !strings.Contains(log.String(), file) {
				t.Errorf("%s: the log is %s", name, &log)
			}
		})
	}
}

// A disk that takes nothing is told of once, and holds up nothing.
func TestSnapshotsCannotBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a file and no folder")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, "/dev/full", "/proc/none"} {
		synctest.Test(t, func(t *testing.T) {
			feed, d := newFeed()
			cc := &recorder{}
			var log bytes.Buffer
			r := buildFor(t, "unsaved", resolver.NewBuilder(d, resolver.WithSnapshots(dir), resolver.WithLinger(0), resolver.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))), cc)
			for _, ids := range []string{"a", "a b", "b"} {
				feed.next <- ids
				cc.expect(t, "["+strings.ReplaceAll(ids, " ", ",")+"]")
				time.Sleep(time.Minute)
			}
			r.Close()
			synctest.Wait()
			if n := strings.Count(log.String(), "instances are not saved"); n != 1 || !strings.Contains(log.String(), dir) {
				t.Errorf("%s: %d lines about it, want 1, in\n%s", dir, n, &log)
			}
		})
	}
}

// Many changes in a row are a few files, no half-written file is ever there, and
// the last change is saved when Close returns.
func TestSnapshotsAreFew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var first os.FileInfo
	synctest.Test(t, func(t *testing.T) {
		feed, d := newFeed()
		r := buildFor(t, "few", builder(d, resolver.WithSnapshots(dir), resolver.WithLinger(0)), &recorder{})
		feed.next <- "a"
		synctest.Wait()
		var err error
		if first, err = os.Stat(filepath.Join(dir, "few.instances")); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			feed.next <- fmt.Sprintf("a b%02d", i)
		}
		synctest.Wait()
		if again, err := os.Stat(filepath.Join(dir, "few.instances")); err != nil || !os.SameFile(first, again) {
			t.Errorf("it was written again at once: %v", err)
		}
		r.Close()
	})
	data, err := os.ReadFile(filepath.Join(dir, "few.instances"))
	if err != nil || !bytes.Contains(data, []byte(`"b99"`)) {
		t.Errorf("the last change is not saved: %s, %v", data, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("there is %v", left)
	}
}

// When Close returns, the last change is on disk, and nothing is written any more,
// although the watch lingers: the caller may remove the folder. The next ClientConn
// has saved what came in between.
func TestSnapshotsEndWithTheLastClose(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "folder")
	saved := func(id string) bool {
		data, err := os.ReadFile(filepath.Join(dir, "closed.instances"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Contains(data, []byte(`"`+id+`"`))
	}
	synctest.Test(t, func(t *testing.T) {
		feed, d := newFeed()
		b := builder(d, resolver.WithSnapshots(dir), resolver.WithLinger(time.Minute))
		first, second := buildFor(t, "closed", b, &recorder{}), buildFor(t, "closed", b, &recorder{})
		feed.next <- "a"
		synctest.Wait()
		first.Close()
		feed.next <- "b" // within the second after the first write
		synctest.Wait()
		if saved("b") {
			t.Error("it was written again at once")
		}
		second.Close()
		if !saved("b") {
			t.Error("Close returned before the last change was saved")
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		feed.next <- "c"
		time.Sleep(time.Second * 30)
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it was written after Close: %v", err)
		}
		third := buildFor(t, "closed", b, &recorder{})
		synctest.Wait()
		if !saved("c") {
			t.Error("what came while the watch lingered is not saved")
		}
		third.Close()
		time.Sleep(time.Hour) // until the watch has ended
	})
}

// FuzzSnapshot signs what it is given, so that not everything is turned away by
// the checksum.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"service":"svc","saved":"2026-11-24T00:00:00Z","instances":[{"id":"a","addrs":["h:1"]}]}`))
	f.Add([]byte(`{"service":"svc","instances":[{"id":"a","addrs":["h:1"]},{"id":"a","addrs":["h:1"]}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		signed := fmt.Appendf(nil, "micro-instances 1 %08x\n%s", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), data)
		for _, file := range [][]byte{data, signed, signed[:len(signed)/2]} {
			text, err := resolver.ParseSnapshot(file)
			if (text == "") == (err == nil) {
				t.Fatalf("%q is %q, %v", file, text, err)
			}
		}
	})
}
