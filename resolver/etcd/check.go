package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// compareEvery is how often a watch asks, give or take a third, whether it
	// still sees the store as it is. A store that was wiped and restored counts its
	// revisions from the beginning, and a watch from a later one gets no event and
	// no error, for ever.
	compareEvery = 45 * time.Second

	// A difference may be a change that is on its way. The next event shows whether
	// it was; and where none comes, the watch has missed something.
	doubtEvery = time.Second
	maxDoubts  = 5
)

// found is what a check has found in the store.
type found struct {
	revision int64 // of the store
	count    int64 // of keys under dir
	probe    string
	written  int64 // the revision of that key's value; 0 if there is none
}

// shows reports whether the view is that of the store as it was found.
func (v *view) shows(f *found) bool {
	return f.count == int64(len(v.keys)) && f.written == v.keys[f.probe]
}

// settle decides on a difference that was found, now that all changes up to it
// were heard and one behind it is about to be.
func (v *view) settle(revision int64) error {
	f := v.doubt
	if f == nil || revision <= f.revision {
		return nil
	}
	if !v.shows(f) {
		return v.replaced(f)
	}
	v.doubt, v.doubts = nil, 0
	return nil
}

func (v *view) replaced(f *found) error {
	return fmt.Errorf("the store was replaced, or has kept changes from this watch: at revision %d it has %d keys, and here are %d; %s was written at revision %d, and here at %d",
		f.revision, f.count, len(v.keys), v.dir+f.probe, f.written, v.keys[f.probe])
}

// check asks etcd whether its store is the one that this view shows. It returns
// when to check again, or an error if it is another one. It reads two numbers and
// one key, not the list: the identity of the cluster, and a revision that went
// back, tell most of the stores that were replaced; where a restored one has
// already passed the old revision, the number of keys tells, or the revision at
// which a key of the view was written. After an outage it is an error, too, that
// there were changes: they would come one after the other, the end of every lease
// before the new registrations.
func (v *view) check(ctx context.Context, outage bool) (again time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.r.timeout)
	defer cancel()
	probe := ""
	for probe = range v.keys { // any one, and another each time
		break
	}
	res, err := v.r.client.Txn(ctx).Then(
		clientv3.OpGet(v.dir, clientv3.WithPrefix(), clientv3.WithCountOnly()),
		clientv3.OpGet(v.dir+probe, clientv3.WithKeysOnly()),
	).Commit()
	if err != nil {
		return jittered(v.r.compare), nil // etcd is away: the watch finds out, and what is known stays
	}
	if header := res.Header; header.GetClusterId() != v.cluster || header.GetRevision() < v.revision {
		return 0, fmt.Errorf("the store was replaced: it was cluster %x at revision %d, and is %x at %d",
			v.cluster, v.revision, header.GetClusterId(), header.GetRevision())
	}
	f := &found{revision: res.Header.GetRevision(), count: res.Responses[0].GetResponseRange().GetCount(), probe: probe}
	for _, kv := range res.Responses[1].GetResponseRange().GetKvs() {
		f.written = kv.GetModRevision()
	}
	if v.shows(f) {
		v.doubt, v.doubts = nil, 0
		return jittered(v.r.compare), nil
	}
	if outage {
		return 0, errors.New("the connection to etcd was lost, and there were changes meanwhile")
	}
	v.doubt = f
	if v.doubts++; v.doubts < maxDoubts {
		return doubtEvery, nil
	}
	return 0, v.replaced(f)
}

// survived decides on an outage, if there was one since back was next, and returns
// what the next one closes. One may have lasted much longer than the connection was
// known to be lost: a network that loses every packet breaks none for a while.
func (v *view) survived(ctx context.Context, back <-chan struct{}) (<-chan struct{}, error) {
	lost, away := v.r.outages.since(back)
	if !lost {
		return back, nil
	}
	if away >= v.r.outage {
		return back, fmt.Errorf("etcd was away for %v", away.Round(time.Millisecond))
	}
	back = v.r.outages.next() // the one that was, if it is not yet known to be over
	_, err := v.check(ctx, true)
	return back, err
}

func jittered(d time.Duration) time.Duration {
	return d*2/3 + rand.N(d*2/3) //nolint:gosec // spreads load, hides nothing
}
