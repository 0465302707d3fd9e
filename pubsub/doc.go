// Package pubsub publishes and handles typed events.
//
// A [Topic] says what its events are, and how they are keyed and encoded. From
// a proto file with the event annotation it is generated; by hand it is one
// declaration:
//
//	var Greeted = pubsub.NewTopic[greeterv1.Greeted]("greeter.greeted",
//		pubsub.WithKey(func(m *greeterv1.Greeted) string { return m.GetName() }),
//		pubsub.WithDeadLetter())
//
// A [Broker] carries them: [Open] returns one for a URL, "memory://dev" or
// "kafka://h1:9092,h2:9092". Publishing blocks until the broker has the event:
//
//	err := Greeted.Publish(ctx, broker, &greeterv1.Greeted{Name: "world"})
//
// Subscribing blocks until ctx ends, so it wants a goroutine, or
// micro.Subscribe:
//
//	err := Greeted.Subscribe(ctx, broker, "mailer", func(ctx context.Context, m *greeterv1.Greeted) error {
//		return sendMail(ctx, m.GetName())
//	})
//
// # Topics
//
// What a topic is to be on the broker is a part of its declaration
// ([WithTopicSpec]); [EnsureTopics] creates it so in development, and in production
// refuses to start a service on one that is missing or different.
//
// # Groups
//
// Members of one group share the events; each group gets all of them. A new
// group begins at the oldest event that there is ([WithStart]). Without a group
// a subscription is a broadcast: it gets every event from when it is ready.
//
// # At least once
//
// An event is acknowledged when its handler returned nil, and not before. A
// crash, or a drain that handlers outlast, has it delivered again, so handlers
// must bear repeats; an ID names an event. A rebalance or a restart in order
// repeats nothing.
//
// # Order
//
// Events of one key are handled one at a time, in the order in which they were
// published; those of other keys at the same time ([WithConcurrency]); those
// without a key in any order.
//
// # Failures
//
// An event whose handler fails is tried again after a pause ([WithRetry]); its
// key waits, and no other: beside one key of a thousand that always fails, the
// others' p50 and p99 from publish to handler are what they are without it (×0.95
// and ×1.01, on a Kafka 3.9). That holds while what its partition gets until
// the event comes to an end, rate times time, fits into the window ([WithWindow]):
// at 1,000 events a second in a partition the default of 4096 is good for 4 s.
// Beyond it that partition stops behind the event, and the others go on; the log
// and [Subscriptions] say so. A rebalance does not wait for it. What takes minutes
// or hours to come right can wait in topics of its own, out of order ([WithUnorderedRetry]). One that will never work
// ([Permanent]), that does not decode, or that has used up its attempts goes to
// the dead-letter topic ([WithDeadLetter], [DeadLetterOf]). Without one it ends
// the subscription with its error: an event is never skipped in silence. A panic
// is an error as any other ([Recover]). [Redrive] gives dead letters back to their
// group when what was wrong is mended.
//
// # Batches and pauses
//
// [Batch] makes a handler of one that takes many events at once. A [Gate] pauses
// subscriptions and has them go on, without a rebalance.
//
// # Middleware
//
// A [Middleware] wraps the handler of a subscription ([WithMiddleware]). It sees
// the message as it came, and decoding it as a part of the handler; a message
// that fails passes through it at each try. [Recover] and [Dedup] are two: the
// latter handles an event once that was published or delivered twice.
//
// # Messages
//
// A [Message] is what a topic makes of an event: CloudEvents' attributes as
// fields, and a Header for the rest. [Topic.Message] and [Topic.Decode] convert,
// for batches, an outbox and tests; Publish and Subscribe of a broker take
// messages as they are.
//
// # Metrics
//
// [Subscriptions] tells what each subscription of the process has done and has in
// hand: lag, running handlers, use of the window, the age of what is oldest,
// retries, dead letters and rebalances, to be read by whatever shows metrics. A
// partition that has messages and gets nowhere is named there, and in the log
// ([WithStallAfter]), and so is a subscription that does not get its partitions.
//
// # Drivers
//
// A driver implements [Broker] and registers its scheme with [RegisterScheme].
// [Prepare] begins its Publish, [NewSubscription] its Subscribe, and [Received]
// ends its reading of a message; package pubsubtest is the suite that it passes.
package pubsub
