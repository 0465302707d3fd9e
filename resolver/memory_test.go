package resolver_test

import (
	"testing"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/resolvertest"
)

func TestMemoryConforms(t *testing.T) {
	resolvertest.Run(t, func(*testing.T) resolver.Registry { return resolver.NewMemory() })
}
