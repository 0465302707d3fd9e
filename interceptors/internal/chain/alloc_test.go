//go:build !race

package chain_test

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/interceptors/internal/chain"
)

// Not with the race detector, for which sync.Pool drops some of what it is given.
func TestNoAllocation(t *testing.T) {
	serve := chain.UnaryServer(passServer, passServer, passServer)
	call := chain.UnaryClient(passClient, passClient, passClient)
	info := new(grpc.UnaryServerInfo)
	for side, call := range map[string]func(){
		"server": func() { _, _ = serve(t.Context(), nil, info, handle) },
		"client": func() { _ = call(t.Context(), "/m", nil, nil, nil, invoke) },
	} {
		if n := testing.AllocsPerRun(1000, call); n != 0 {
			t.Errorf("%s: %v allocations", side, n)
		}
	}
}
