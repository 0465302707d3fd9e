package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/internal/lanes"
)

const (
	positionsBucket = "micro-positions"
	membersBucket   = "micro-members"

	// membersTTL is after how long a sign of life is forgotten for good, and the
	// mark that a member that has left leaves behind. It is much longer than
	// a session: members judge by the session timeout, not by it.
	membersTTL = 5 * time.Minute

	minSession = 500 * time.Millisecond
	maxSession = time.Minute
)

// entry is what the bucket has of a partition of a group.
type entry struct {
	Owner    string    `json:"owner,omitempty"` // the member that has it; "" while nobody has
	Next     int64     `json:"next"`            // every sequence number below it is finished
	Finished string    `json:"finished,omitempty"`
	Of       int       `json:"of"`     // partitions that the topic had when the group began
	Stream   time.Time `json:"stream"` // when the stream was created whose numbers these are
}

// maxFinished bounds Finished; it is far below the largest value of a bucket.
const maxFinished = 32 << 10

func (e entry) position() lanes.Position { return lanes.DecodePosition(e.Next, e.Finished) }

func (e *entry) setPosition(p lanes.Position) { e.Next, e.Finished = p.Next, p.Encode(maxFinished) }

func (e entry) encode() []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings, a number and a time
	}
	return data
}

func decodeEntry(data []byte) (e entry, err error) {
	err = json.Unmarshal(data, &e)
	if err == nil && e.Next < 0 {
		err = fmt.Errorf("next is %d", e.Next)
	}
	return e, err
}

// store is the two buckets, and the keys of one group in them.
type store struct {
	positions, members jetstream.KeyValue
	base               string // of keys: topic.group.
}

func (b *Broker) openStore(ctx context.Context, js jetstream.JetStream, topic, group string) (*store, error) {
	s := &store{base: escape(topic) + "." + escape(group) + "."}
	var err error
	if s.positions, err = b.openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket:      positionsBucket,
		Description: "how far the groups of package pubsub have come",
		Replicas:    b.replicas,
	}); err != nil {
		return nil, err
	}
	s.members, err = b.openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket:      membersBucket,
		Description: "the members of the groups of package pubsub",
		TTL:         membersTTL,
		Replicas:    b.replicas,
	})
	return s, err
}

// openBucket creates the bucket if there is none; one that is there may be
// configured otherwise.
func (b *Broker) openBucket(ctx context.Context, js jetstream.JetStream, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := js.KeyValue(ctx, c.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if kv, err = js.CreateKeyValue(ctx, c); errors.Is(err, jetstream.ErrBucketExists) { // somebody was faster
			kv, err = js.KeyValue(ctx, c.Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", c.Bucket, err)
	}
	return kv, nil
}

func (s *store) partitionKey(p int) string { return s.base + strconv.Itoa(p) }

func (s *store) memberKey(id string) string { return s.base + id }

// put replaces the entry of p that has the revision, and returns that of the new
// one. An error for which replaced is true says that it has another one.
func (s *store) put(ctx context.Context, p int, e entry, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if revision == 0 {
		return s.positions.Create(ctx, s.partitionKey(p), e.encode())
	}
	return s.positions.Update(ctx, s.partitionKey(p), e.encode(), revision)
}

// get returns the entry of p and its revision.
func (s *store) get(ctx context.Context, p int) (entry, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := s.positions.Get(ctx, s.partitionKey(p))
	if err != nil {
		return entry{}, 0, err
	}
	e, err := decodeEntry(kv.Value())
	return e, kv.Revision(), err
}

// beat gives a sign of life.
func (s *store) beat(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := s.members.Put(ctx, s.memberKey(id), nil)
	return err
}

// remove takes out a member, if its last sign of life is the one of revision; 0
// stands for any.
func (s *store) remove(ctx context.Context, id string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var opts []jetstream.KVDeleteOpt
	if revision > 0 {
		opts = append(opts, jetstream.LastRevision(revision))
	}
	return s.members.Delete(ctx, s.memberKey(id), opts...)
}

// update is a change of an entry in one of the buckets.
type update struct {
	bucket   string
	name     string // the key's last part: a partition, or a member; "" says that all there was has been told
	value    []byte
	revision uint64
	deleted  bool
}

// watch tells all entries of the group in a bucket, and then each change, until
// ctx ends.
func (s *store) watch(ctx context.Context, js jetstream.JetStream, bucket string, trouble *trouble, to chan<- update) {
	send := func(u update) error {
		u.bucket = bucket
		select {
		case to <- u:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	prefix := "$KV." + bucket + "." + s.base
	for try := 0; ctx.Err() == nil; try++ {
		caughtUp := func() {
			try = 0
			trouble.is(nil)
			_ = send(update{}) // its error is the end of ctx
		}
		err := tail(ctx, js, "KV_"+bucket, prefix+"*", 0, caughtUp, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			return send(update{
				name:     msg.Subject()[len(prefix):],
				value:    msg.Data(),
				revision: meta.Sequence.Stream,
				deleted:  msg.Headers().Get("KV-Operation") != "" || msg.Headers().Get("Nats-Marker-Reason") != "",
			})
		})
		if ctx.Err() == nil && !errors.Is(err, errGap) {
			trouble.is(err)
		}
		if !pause(ctx, try) {
			return
		}
	}
}
