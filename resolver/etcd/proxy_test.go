package etcd_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between a client and etcd. It can cut the connections, fall
// silent as a network does that loses every packet, be slow, and be moved to
// another etcd.
type proxy struct {
	lis   net.Listener
	tasks sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	conns  []net.Conn
	down   bool
	delay  time.Duration // of each read
	open   chan struct{} // closed while data pass
}

// newProxy returns one to an etcd, until the test ends.
func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{lis: lis, target: target, open: make(chan struct{})}
	close(p.open)
	p.tasks.Go(p.accept)
	t.Cleanup(func() {
		_ = p.lis.Close()
		p.heal()
		p.cut()
		p.tasks.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.lis.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.lis.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		out, err := net.Dial("tcp", target)
		if err != nil || !p.keep(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		p.tasks.Go(func() { p.pass(in, out) })
		p.tasks.Go(func() { p.pass(out, in) })
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return false
	}
	p.conns = append(p.conns, conns...)
	return true
}

func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		open, delay := p.open, p.delay
		p.mu.Unlock()
		<-open
		if delay > 0 {
			<-time.After(delay)
		}
		if _, writeErr := to.Write(buf[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// cut ends every connection, and each new one at once.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// mute lets nothing through, and keeps the connections.
func (p *proxy) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

// slow holds up each packet.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// heal ends cut, mute and slow.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.delay = false, 0
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// move cuts the connections and leads new ones to another etcd.
func (p *proxy) move(target string) {
	p.cut()
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.heal()
}
