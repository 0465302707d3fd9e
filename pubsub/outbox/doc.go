// Package outbox makes "state changed" and "event sent" one commit.
//
// A service that writes to its database and then publishes loses the event when
// it crashes between the two; one that publishes first tells of what may never
// happen. With an outbox the event is a row of a table, written in the same
// transaction as the state; a [Relay] publishes the rows and takes them out.
//
//	var box = outbox.Must(outbox.PostgreSQL)
//
//	tx, err := db.BeginTx(ctx, nil)
//	…
//	_, err = tx.ExecContext(ctx, `UPDATE orders SET state = 'paid' WHERE id = $1`, id)
//	…
//	err = orderPaid.Publish(ctx, box.Publisher(tx), &Paid{ID: id}) // a row, no more
//	…
//	err = tx.Commit()
//
// Somewhere, in this process or another, in one or in many of them:
//
//	relay, err := box.Relay(db, broker)
//	service.Go(relay.Run)
//
// [Outbox.Schema] has the tables, for your migrations. The package knows
// database/sql alone: the driver is yours.
//
// # What is promised
//
// A committed event is published at least once, and a rolled back one never. A
// relay that dies between publishing and taking out publishes again: with the
// same ID, so pubsub.Dedup, or a broker that tells repeats itself, can drop it.
//
// Events of one key are published in the order in which their transactions
// committed. On PostgreSQL the publisher holds an advisory lock of the key until
// the transaction ends, so of two transactions that publish one key the second
// waits for the first, as it would for a row that both change; two that take
// several keys crosswise can deadlock, as with rows, and PostgreSQL ends one.
// SQLite has one writer at a time anyway. Events of one Publish call keep their
// order, too.
//
// # Relays
//
// Of the relays of a table one works and the others stand by: a lease in a
// second table says which. When it stops it gives the lease away, and another
// goes on a moment later; when it dies, that is when the lease is over
// ([WithLease]). A relay that was suspended while it was publishing, and has lost
// the lease meanwhile, makes repeats, and no other harm.
// A batch has many keys, which the broker takes at the same time: that, and not
// the number of relays, makes throughput. On two cores, shared with the database
// and a Kafka-protocol broker, a relay with the defaults moved 60,000 to 100,000
// events a second out of SQLite and 30,000 out of PostgreSQL (BenchmarkRelay: 100
// bytes, 1,000 keys).
//
// An event that the broker does not take keeps its key back, and no other: it is
// tried again, with longer and longer pauses, and logged. Nothing is dropped. If
// it can never be published (its topic does not exist, it is too large), its row
// has to be mended or deleted by hand.
//
// A relay looks for rows every [WithPoll]. [Relay.Wake] makes it look at once:
// call it after the commit, where the relay is in the same process. [Outbox.Lag]
// says how much waits, and for how long, for an alert.
package outbox
