// Package inbox is the broker without a broker: a publisher hands each event
// over gRPC to the subscribers that the registry knows, one of each group.
//
//	reg, err := resolver.Open("etcd://10.0.0.1:2379")
//	…
//	b, err := inbox.New(reg, inbox.WithAddress("10.0.0.7:7070"), inbox.WithTLS(server, client))
//
// A subscription is an instance of the service inbox.<topic>, with its group in
// a label, at the address of a gRPC server that the broker runs once it has one.
// A publisher watches the service of each topic that it publishes to.
//
// # How an event travels
//
// Publish puts the event into a log in the memory of its process, and returns.
// From there each group gets it: a call to one member, the one that its key falls
// to (rendezvous hashing), which is answered when the handler has returned nil
// or the event is a dead letter. When the member does not answer, dies, or gives
// the event back because it leaves, the next one gets it, and so on until one has
// handled it. The next event of the key waits for that answer; other keys do not.
//
// The log keeps the newest events of a topic ([WithRetention]), for groups that
// come later or again. With no room left for what a group with members has not
// handled yet, Publish waits; a group without members does not hold it up, and
// loses what is dropped, which the log says when it is back.
//
// # What is promised, and what is not
//
// Between two live processes delivery is at least once, and in the order of each
// key: a member that dies, drains or hangs on a broken connection costs a
// repeat, and no event. But there is no log on disk, and no broker that outlives
// the publisher:
//
//   - nil from Publish says that the event is in the memory of this process. A
//     process that crashes takes with it what it has not delivered. Close delivers
//     what groups with members have not handled, until its ctx ends, and says how
//     much is left: close brokers, and give them time.
//   - A publisher knows the newest events that it has published itself. A new
//     group that begins at the oldest event begins there, with each publisher.
//     After a restart of the publisher there are none.
//   - So a dead letter is kept by the member that has made it, in memory.
//     Subscribe to dead letters, or log them: they are not for later.
//   - A group that has no member while the publisher ends gets nothing.
//   - A broadcast subscriber gets what is published while it is there.
//   - Order is kept for the events that one process publishes. For a moment after
//     members have changed, two publishers may see different ones, and then a key
//     has two handlers at once, on two members.
//   - One key takes a round trip and its handler's time for each event.
//   - Whoever reaches a member's port can hand it events: use mutual TLS.
//
// It is for services that need no more than that, without another server to run.
// Where events must survive a crash, use pubsub/kafka or pubsub/nats; an outbox in
// front of this broker does not help, because it takes events out when Publish
// returns.
//
// # Starting, stopping
//
// The first Publish to a topic waits for the registry; later ones go on with the
// members last known while it is away. Subscribe waits for it, too, as long as it
// takes, and is ready when it is registered. A member that stops withdraws, takes
// nothing more, and finishes what its handlers have in hand until the drain
// timeout; the rest goes to the others.
//
// In pubsub.Subscriptions each group that a process publishes to shows as a
// subscription, beside those that it handles: its lag is what waits there. That of
// a member is what it has in hand, because what else there is only publishers
// know. Each is stalled (WithStallAfter of the member; 30 s with a publisher) when
// none of that comes to an end, and a member that is not registered yet is
// Unassigned.
package inbox
