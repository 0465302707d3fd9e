package resolver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"

	grpcresolver "google.golang.org/grpc/resolver"
)

// localPrefix is what the address of every local socket begins with, as grpc
// dials it: a registry can send nobody to a socket of another program. "@" is
// the zero byte of an abstract name.
const localPrefix = "unix:@micro/"

// ListenLocal listens on a unix socket for clients on this host, beside the
// listener whose address is in Addrs. Serve the same on both, with the same
// credentials, and announce local as Instance.Local.
//
// The socket is abstract: it has no file, ends with the process however that
// ends, and is open to everybody in the network namespace, as a port on loopback
// is. Its name is drawn anew each time, so that nobody takes an instance for
// another one, not even where two hosts take themselves for one.
//
// It blocks on nothing but the kernel. Elsewhere than on Linux, and where /proc
// is not there, the error is [errors.ErrUnsupported].
func ListenLocal(ctx context.Context) (lis net.Listener, local string, err error) {
	host := thisHost()
	if host == "" {
		return nil, "", fmt.Errorf("resolver: listen locally: no abstract sockets here, or no /proc: %w", errors.ErrUnsupported)
	}
	name := strings.ToLower(rand.Text())
	_, addr, _ := strings.Cut(localPrefix+name, ":")
	if lis, err = new(net.ListenConfig).Listen(ctx, "unix", addr); err != nil {
		return nil, "", fmt.Errorf("resolver: listen locally: %w", err)
	}
	return lis, host + "/" + name, nil
}

// IsLocal reports whether addr is the socket of an instance on this host. Who
// tells instances apart by their addresses leaves it out: it is a way to the
// instance that other clients do not see, and another one after a restart.
func IsLocal(addr grpcresolver.Address) bool { return strings.HasPrefix(addr.Addr, localPrefix) }

// localAddr returns how to dial the instance's local socket, or "" if it has
// none, or has it on another host.
func (i *Instance) localAddr() string {
	host := thisHost()
	if host == "" || len(i.Local) <= len(host) || i.Local[:len(host)] != host || i.Local[len(host)] != '/' {
		return ""
	}
	return localPrefix + i.Local[len(host)+1:]
}

// thisHost names what an abstract socket can be reached in: this network
// namespace, until the machine boots anew. It is "" where there are none. Two
// containers with networks of their own have two, and containers that share
// their host's have its. It is hashed, because others need not know it.
var thisHost = sync.OnceValue(func() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	boot, bootErr := os.ReadFile("/proc/sys/kernel/random/boot_id")
	network, networkErr := os.Readlink("/proc/self/ns/net")
	if bootErr != nil || networkErr != nil {
		return ""
	}
	sum := sha256.Sum256(append(boot, network...))
	return hex.EncodeToString(sum[:10])
})
