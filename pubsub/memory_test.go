package pubsub_test

import (
	"testing"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/pubsubtest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, func(*testing.T) pubsub.Broker { return pubsub.NewMemory() })
}
