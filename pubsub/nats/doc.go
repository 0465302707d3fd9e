// Package nats is the broker on NATS JetStream.
//
// A URL says what most programs need:
//
//	import _ "github.com/grpc-micro/micro/pubsub/nats"
//
//	b, err := pubsub.Open("nats://user:password@h1:4222,h2:4222?tls=true")
//
// A user without a password is a token, as everywhere in NATS. The parameters,
// each an [Option] of [New] too:
//
//	tls=true               TLS; ca=FILE for an authority of one's own, cert=FILE&key=FILE for a client certificate
//	creds=FILE             a JWT and its key, as nsc writes them
//	nkey=FILE              the seed of an nkey
//	auto_create=N          create the stream of a topic that has none, with N partitions
//	replicas=N             replicas of what we create: those streams, and the two buckets of the groups (default 1)
//	client_name=NAME       what the servers' logs and monitoring call us
//	connect_timeout=10s    how long Subscribe waits for a server that was never reached
//	publish_timeout=30s    how long a Publish may take whose context has no deadline
//	session_timeout=10s    how long the partitions of a member that has died stand still
//
// # Topics
//
// JetStream has streams and subjects, and no partitions. Here a topic is one
// stream, and a partition is a subject of it: topic "orders" with 4 partitions
// is a stream of the subject "orders.*" whose metadata say micro-partitions=4,
// and a key always goes to the same one of orders.0 to orders.3, by FNV-1a, as in
// the partition() of NATS's own subject mappings. The stream may have any name:
//
//	nats stream add ORDERS --subjects 'orders.*' --metadata micro-partitions=4 --replicas 3 --retention limits
//
// [pubsub.EnsureTopics] makes streams as topics are declared, with auto_create, and
// checks them without. A topic's name has to be a subject: no dot at either end, and no two in a row.
// How many partitions there are is read once, so do not change it while
// programs run.
//
// # Publishing
//
// A message is published when the stream has acknowledged it. Messages of
// different keys are on their way at the same time; those of one key in one call
// go one after the other, so that none overtakes another, whatever fails: one
// key takes a round trip for each message. When one fails for good, the later
// ones of its key in the call come back as not sent.
//
// A message carries its Source and ID as Nats-Msg-Id, and JetStream does not
// store it again inside the stream's duplicate window, 2 minutes by default. So
// what was sent and not answered is sent again without making a duplicate;
// and so publishing an old message anew within that window does nothing: it
// needs another ID. [pubsub.ErrRejected], [pubsub.ErrNotSent] and
// [pubsub.ErrUnknown] mean what they mean everywhere.
//
// # Subscribing
//
// The members of a group share the partitions. Who has which, and how far each
// has come, is in a key-value bucket (micro-positions), one entry a partition:
// taking a partition, committing and giving it away are updates that name the
// revision that they replace, so a member that has lost its partition cannot
// commit. A second bucket (micro-members) holds a sign of life of each member.
// A partition is read by a consumer without acknowledgements from where the
// group has come to, and handlers run in key lanes: one at a time for a key,
// many keys at once. A commit has the finished prefix and what is finished
// behind it, every quarter of a second and when the partition is given away: a
// planned rebalance repeats nothing, and after a crash at most what was finished
// since the last commit comes again.
//
// JetStream's own durable consumers are not used, because they cannot keep a
// key's order: shared by several members, one hands the messages of a key to
// any of them; and what a dead member leaves behind comes again when its
// acknowledgement is overdue, after later messages of the same keys. With
// MaxAckPending=1 they keep the order, and handle one message at a time.
//
// A broadcast reads the whole stream and leaves nothing behind.
//
// # What is weaker than Kafka
//
//   - A stream has one leader: the partitions of a topic spread its handling over
//     members, not its storage over servers. What one stream can take, a topic
//     can take.
//   - The members coordinate themselves. When one joins or leaves, partitions
//     move at once; when one dies, they stand still for the session timeout.
//   - The number of partitions is fixed while programs run.
//   - A key takes a round trip for each message that is published.
//   - Offsets are sequence numbers of the stream, which all partitions share: the
//     window ([pubsub.WithWindow]) counts those, times the number of partitions.
//     A partition with more than its share of the messages can hold that many.
//     The lag in pubsub.Subscriptions counts messages, as of the last fetched one.
//   - What retention has deleted before a group has handled it is noticed when a
//     partition is taken, and logged with the sequence numbers; since they are
//     shared, it is not known how many messages of the partition were among them.
//   - The lag of a group does not show in NATS's tools, because there is no durable
//     consumer: see pubsub.Subscriptions, and the bucket micro-positions.
//
// # Events on the wire
//
// Attributes are headers in the binary content mode of the CloudEvents NATS
// binding 1.0.3 (ce-specversion, ce-id, ce-source, ce-type, ce-time, ce-subject,
// ce-datacontenttype), and the key is ce-partitionkey; their values are
// percent-encoded. An extension that is ce_name in Header is ce-name here. NATS
// keeps neither the order of headers nor bytes that are not printable: where a
// Header needs either, micro-header repeats it as a whole. A tombstone has
// micro-tombstone. A message of another producer that has none of these has the
// Nats-Msg-Id as its ID, if there is one, the time at which it was stored, and
// the plain headers; an event in structured mode comes as the JSON that it is.
package nats
