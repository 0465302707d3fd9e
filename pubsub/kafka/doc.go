// Package kafka is the broker on Apache Kafka, and on what speaks its protocol.
//
// A URL says what most programs need:
//
//	import _ "github.com/grpc-micro/micro/pubsub/kafka"
//
//	b, err := pubsub.Open("kafka://user:password@h1:9092,h2:9092?tls=true&sasl=scram-sha-512")
//
// Its parameters, each an [Option] of [New] too:
//
//	tls=true               TLS; ca=FILE for an authority of one's own, cert=FILE&key=FILE for a client certificate
//	sasl=MECHANISM         plain, scram-sha-256 or scram-sha-512, with the user and the password of the URL
//	auto_create=N          create topics that do not exist, with N partitions (0: the broker's default) and replication=N
//	compression=NAME       gzip, snappy, lz4 or zstd
//	client_id=NAME         what the servers' logs, metrics and quotas call us
//	connect_timeout=10s    how long Subscribe waits for a server that was never reached
//	publish_timeout=30s    how long a Publish may take whose context has no deadline
//	session_timeout=10s    how long the partitions of a member that has died stand still
//
// Write a port behind each host, or behind none of them.
//
// # Topics
//
// [pubsub.EnsureTopics] compares topics with their declarations: partitions,
// replication factor and topic configs. With auto_create it creates those that are
// missing; it never changes one.
//
// # Publishing
//
// A message is published when every replica in sync has it. Each partition has
// one batch in flight; what is published meanwhile goes together in the next, and
// batches for one server share requests. So a lone message leaves at once, and
// many calls at a time share what they cost, without a delay to tune. Keys are
// spread as Kafka's Java client does (murmur2).
//
// The producer is idempotent: batches are numbered (KIP-98), and one that is sent
// again because its answer was lost is in the log once. Kafka before 3.0 wants the
// right IdempotentWrite on the cluster for that; without it a warning is logged,
// and such a batch can be in the log twice, with the same message IDs
// ([pubsub.Dedup]).
//
// The result of each message is nil, or wraps one of three errors:
//
//   - [pubsub.ErrRejected]: the cluster does not take it, and will not later.
//   - [pubsub.ErrNotSent]: it is not in the log; publishing it again makes no
//     duplicate.
//   - [pubsub.ErrUnknown]: it was in a request that has no answer, and may be in
//     the log.
//
// What waits behind a message that has failed so, with its key, comes back as
// not sent: a key's messages never overtake each other. Only a caller that
// leaves before its message is in a request takes nothing else with it.
//
// A caller that gets ErrUnknown and publishes again can make a duplicate: that is
// another message to the server.
//
// # Subscribing
//
// Handlers run in key lanes: one at a time for a key, many keys at once
// ([pubsub.WithConcurrency]; with handlers that wait 300 µs the default does more
// than 50 times what a loop over kafka-go's Reader does). A
// commit carries the finished prefix of a partition and, in its metadata, what
// is finished behind it, every quarter of a second and when the partition is
// given away; so a planned rebalance repeats nothing, also with a message in
// backoff, and after a crash at most what was finished since the last commit
// comes again. Other clients of the group see an ordinary offset.
//
// A group begins at the oldest message, unless [pubsub.WithStart] or
// [pubsub.WithStartTime] says
// otherwise; that choice is committed before the subscription is ready, and
// partitions that are added later are read from their first message. If
// retention has deleted messages before they were handled, or the topic was
// made anew, the log says from where to where they are lost, and reading goes
// on at the oldest.
//
// When the cluster is away the subscription waits for it, however long, and
// logs when it goes and when it comes back. Only a server that was never
// reached, a topic that does not exist, that of dead letters or of retries among
// them, or a group that may not be joined is an error of Subscribe.
//
// Of what others write in transactions, only what they have committed is
// delivered; an open transaction holds back what is behind it, as it does for
// every consumer that reads committed messages.
//
// # Events on the wire
//
// Attributes are headers in the binary content mode of CloudEvents 1.0
// (ce_specversion, ce_id, ce_source, ce_type, ce_time, ce_subject and
// content-type); all other headers are the message's own, the traceparent and
// tracestate of W3C Trace Context among them. A message without
// them, of another producer, has an empty ID and type, and the time of its
// record.
package kafka
