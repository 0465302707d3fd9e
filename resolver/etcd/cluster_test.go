package etcd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/grpc-micro/micro/internal/wait"
)

// nodeEnv makes this test binary a node of etcd, which can be killed as a
// process is.
const nodeEnv = "MICRO_TEST_ETCD_NODE"

// nodeConfig is what the process of a node is told.
type nodeConfig struct {
	Name    string `json:"name"`
	Dir     string `json:"dir"`
	Client  string `json:"client"` // host:port
	Peer    string `json:"peer"`
	Members string `json:"members"` // name=URL of each

	Cert     string `json:"cert"` // files, for TLS
	Key      string `json:"key"`
	ClientCA string `json:"clientCA"` // whose clients alone may connect
	TokenTTL uint   `json:"tokenTTL"` // in seconds, of those who logged in
}

// serveNode is the process of a node: it ends when its standard input does, and
// so with the tests at the latest.
func serveNode(config string) int {
	var c nodeConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	client, peer := []url.URL{{Scheme: "http", Host: c.Client}}, []url.URL{{Scheme: "http", Host: c.Peer}}
	cfg := embed.NewConfig()
	if c.Cert != "" {
		client[0].Scheme = "https"
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: c.Cert, KeyFile: c.Key, TrustedCAFile: c.ClientCA, ClientCertAuth: c.ClientCA != ""}
	}
	cfg.BcryptCost = 4 // the least: passwords are no secret here, and checking one takes long
	if c.TokenTTL > 0 {
		cfg.AuthTokenTTL = c.TokenTTL
	}
	cfg.Name, cfg.Dir = c.Name, c.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	cfg.InitialCluster = c.Members
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.UnsafeNoFsync = true // the machine does not crash, only the process
	cfg.EnableGRPCGateway = false
	cfg.LogLevel = "fatal"
	if _, err := embed.StartEtcd(cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// cluster is an etcd of several processes.
type cluster struct {
	t     testing.TB
	nodes []*node
	dial  func(endpoints []string) *clientv3.Client
}

type node struct {
	config nodeConfig
	cmd    *exec.Cmd // nil while it does not run
	stdin  io.Closer
}

// startCluster starts nodes until the test ends.
func startCluster(t testing.TB, nodes int) *cluster {
	t.Helper()
	c := &cluster{t: t, dial: func(endpoints []string) *clientv3.Client { return connect(t, endpoints) }}
	c.reserve(nodes)
	c.start(c.all()...)
	return c
}

// reserve names the nodes, which are not yet started.
func (c *cluster) reserve(nodes int) {
	t := c.t
	t.Helper()
	var members []string
	for i := range nodes {
		n := &node{config: nodeConfig{Name: fmt.Sprintf("node-%d", i), Dir: filepath.Join(t.TempDir(), "etcd"), Client: reserve(t), Peer: reserve(t)}}
		members = append(members, n.config.Name+"=http://"+n.config.Peer)
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.config.Members = strings.Join(members, ",")
	}
	t.Cleanup(func() { c.kill(c.all()...) })
}

// reserve returns an address that is free until something listens on it, even if
// the machine gives out ports meanwhile: those that the kernel chooses are from
// another range.
func reserve(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for {
		ports.next++
		addr := fmt.Sprintf("127.0.0.1:%d", 11_000+(os.Getpid()*97+ports.next)%20_000)
		lis, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = lis.Close()
		return addr
	}
}

var ports struct {
	sync.Mutex

	next int
}

func (c *cluster) all() []int {
	all := make([]int, len(c.nodes))
	for i := range all {
		all[i] = i
	}
	return all
}

func (c *cluster) endpoints() []string {
	endpoints := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		endpoints[i] = n.config.Client
	}
	return endpoints
}

// start starts nodes on the data that they have, and waits until etcd answers.
func (c *cluster) start(nodes ...int) {
	c.t.Helper()
	for _, i := range nodes {
		n := c.nodes[i]
		config, err := json.Marshal(n.config)
		if err != nil {
			c.t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), nodeEnv+"="+string(config))
		cmd.Stderr = os.Stderr
		if n.stdin, err = cmd.StdinPipe(); err != nil {
			c.t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			c.t.Fatal(err)
		}
		n.cmd = cmd
	}
	client := c.dial(c.endpoints())
	defer client.Close()
	wait.Until(c.t, "etcd to answer", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience/10)
		defer cancel()
		_, err := client.Get(ctx, "any")
		return err == nil
	})
}

// kill is kill -9.
func (c *cluster) kill(nodes ...int) {
	for _, i := range nodes {
		if n := c.nodes[i]; n.cmd != nil {
			_ = n.cmd.Process.Kill()
			_ = n.cmd.Wait()
			_ = n.stdin.Close()
			n.cmd = nil
		}
	}
}

// wipe removes the data of nodes that do not run.
func (c *cluster) wipe(nodes ...int) {
	c.t.Helper()
	for _, i := range nodes {
		if err := os.RemoveAll(c.nodes[i].config.Dir); err != nil {
			c.t.Fatal(err)
		}
	}
}

// leader returns the node that leads.
func (c *cluster) leader() int {
	c.t.Helper()
	client, leader := c.dial(c.endpoints()), -1
	defer client.Close()
	wait.Until(c.t, "a leader", func() bool {
		for i, endpoint := range c.endpoints() {
			if leads(client, endpoint) {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

func leads(client *clientv3.Client, endpoint string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience/10)
	defer cancel()
	status, err := client.Status(ctx, endpoint)
	return err == nil && status.Leader == status.Header.GetMemberId()
}
