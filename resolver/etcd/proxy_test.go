package etcd_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a client and etcd, and can be cut.
type proxy struct {
	lis    net.Listener
	server string
	tasks  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	down  bool
}

func newProxy(t testing.TB, server string) *proxy {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{lis: lis, server: server}
	p.tasks.Go(p.accept)
	t.Cleanup(func() {
		_ = lis.Close()
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
		out, err := net.Dial("tcp", p.server)
		if err != nil || !p.keep(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		p.tasks.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		p.tasks.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
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

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}
