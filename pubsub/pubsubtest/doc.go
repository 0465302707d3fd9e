// Package pubsubtest is the conformance suite of brokers: the contract of package
// pubsub as tests that every broker passes.
//
//	func TestBroker(t *testing.T) {
//		pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
//			b, err := kafka.New(…)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return b
//		})
//	}
//
// The tests use topics and groups of unique names, so they run on a server that
// others use, and again on the same one. A topic has to come into being by its
// first use, and should have several partitions.
package pubsubtest
