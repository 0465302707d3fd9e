package inbox

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	gbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

const (
	// pingAfter is after how long without a word a member is asked whether it is
	// there, and pingTimeout for how long it may think about it. A handler may
	// take as long as it likes; only the process has to answer.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second

	// connectTimeout bounds one try to connect to a member.
	connectTimeout = 2 * time.Second
)

// peer is a member somewhere, and the connection to it.
type peer struct {
	inst *resolver.Instance
	link *link
}

// link is a connection, which members at one address share.
type link struct {
	addr string
	conn *grpc.ClientConn
	err  error // why there is none
	uses int   // members known, and calls under way; guarded by peers.mu
}

// peers has the connections to members. A connection lives as long as a member is
// registered there, or has something in hand.
type peers struct {
	creds credentials.TransportCredentials

	mu    sync.Mutex // guards links and their uses
	links map[string]*link
}

func newPeers(creds credentials.TransportCredentials) *peers {
	return &peers{creds: creds, links: make(map[string]*link)}
}

// get returns a member; release it.
func (p *peers) get(inst *resolver.Instance) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	addr := inst.Addrs[0]
	l := p.links[addr]
	if l == nil {
		l = &link{addr: addr}
		l.conn, l.err = grpc.NewClient("passthrough:///"+addr,
			grpc.WithTransportCredentials(p.creds),
			grpc.WithNoProxy(),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           gbackoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: connectTimeout,
			}),
			grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxRequest)))
		p.links[addr] = l
	}
	l.uses++
	return &peer{inst: inst, link: l}
}

func (p *peers) release(member *peer) { p.leave(member.link) }

func (p *peers) enter(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.uses == 0 {
		return false // it is closed: the member is gone
	}
	l.uses++
	return true
}

func (p *peers) leave(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.uses--; l.uses > 0 {
		return
	}
	delete(p.links, l.addr)
	if l.conn != nil {
		_ = l.conn.Close() // nobody uses it
	}
}

// deliver calls a member, and returns nil when it has handled m.
func (p *peers) deliver(ctx context.Context, member *peer, m *pubsub.Message) error {
	l := member.link
	if !p.enter(l) {
		return errStopping
	}
	defer p.leave(l)
	if l.err != nil {
		return l.err
	}
	return l.conn.Invoke(ctx, deliverMethod, &microv1.DeliverRequest{Member: member.inst.ID, Event: encode(m)}, new(microv1.DeliverResponse))
}

// close closes what is left.
func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		if l.conn != nil {
			_ = l.conn.Close()
		}
	}
	clear(p.links)
}

// order returns the members in the order in which they are to be asked: for a key
// always the same ones first, whoever else there is (rendezvous hashing), and
// those that drain last.
func order(members []*peer, m *pubsub.Message) []*peer {
	if len(members) < 2 {
		return members
	}
	key := m.Key
	if key == nil {
		key = binary.LittleEndian.AppendUint64(nil, rand.Uint64()) //nolint:gosec // spreads load, hides nothing
	}
	type scored struct {
		*peer

		score uint64
	}
	all := make([]scored, len(members))
	for i, p := range members {
		all[i] = scored{p, score(p.inst.ID, key)}
	}
	slices.SortFunc(all, func(a, b scored) int {
		switch {
		case a.inst.Draining != b.inst.Draining:
			if a.inst.Draining {
				return 1
			}
			return -1
		case a.score > b.score:
			return -1
		default:
			return 1
		}
	})
	ordered := make([]*peer, len(all))
	for i := range all {
		ordered[i] = all[i].peer
	}
	return ordered
}

func score(id string, key []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(key)
	_, _ = h.Write([]byte(id))
	x := h.Sum64() // mixed, because the last bytes hardly reach the upper bits
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
