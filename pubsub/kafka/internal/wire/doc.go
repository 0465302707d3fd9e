// Package wire has the three requests of Kafka's protocol that messages pass
// through, in the bytes that the servers take and send: produce, fetch, and the
// one for a producer's ID.
//
// kafka-go encodes and decodes all others. These it lets us do ourselves, on its
// connections and to the server that leads a partition
// ([protocol.RawExchanger]), for three things that it cannot do: idempotent
// publishing, leaving out what a transaction has aborted, and records that cost
// no allocations. Its own decoder makes about twenty a record.
//
// Formats are those of https://kafka.apache.org/protocol and, for batches of
// records, https://kafka.apache.org/documentation/#recordbatch.
package wire
