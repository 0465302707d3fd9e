package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// refusal is an error about a topic that trying again does not cure.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func isRefusal(err error) bool {
	_, ok := errors.AsType[refusal](err)
	return ok
}

// temporary reports whether trying again may help. What is no answer of a
// server is a broken connection, a timeout, or metadata that are out of date.
func temporary(err error) bool {
	if refusedUs(err) || isRefusal(err) {
		return false
	}
	if code, ok := errors.AsType[kafkago.Error](err); ok {
		return code.Temporary() || code == kafkago.BrokerNotAvailable || code == kafkago.ReplicaNotAvailable
	}
	return true
}

// refusedUs reports that TLS or SASL failed, which trying again does not cure.
func refusedUs(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	return errors.Is(err, kafkago.SASLAuthenticationFailed) || errors.Is(err, kafkago.UnsupportedSASLMechanism)
}

// notAppended reports that a failed produce request has left nothing in the
// log, for sure: it never left, or a server said why it did not take it.
func notAppended(err error) bool {
	if _, ok := errors.AsType[unsentError](err); ok {
		return true
	}
	if code, ok := errors.AsType[kafkago.Error](err); ok {
		switch code {
		case kafkago.Unknown, kafkago.RequestTimedOut, kafkago.NetworkException, kafkago.NotEnoughReplicasAfterAppend, kafkago.KafkaStorageError:
			return false
		default:
			return true
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "dial"
	}
	return unknownTopic(err) || noLeader(err)
}

// tooLarge reports that a batch is too large for the topic.
func tooLarge(err error) bool {
	return errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge)
}

// noLeader reports that the partition is led by somebody else than we think, or
// by nobody.
func noLeader(err error) bool {
	return errors.Is(err, protocol.ErrNoLeader) ||
		errors.Is(err, kafkago.NotLeaderForPartition) ||
		errors.Is(err, kafkago.LeaderNotAvailable) ||
		errors.Is(err, kafkago.FencedLeaderEpoch) ||
		errors.Is(err, kafkago.UnknownLeaderEpoch) ||
		errors.Is(err, kafkago.KafkaStorageError) ||
		errors.Is(err, kafkago.BrokerNotAvailable) ||
		errors.Is(err, kafkago.ReplicaNotAvailable)
}

// unanswered reports that a request has no answer of a server's.
func unanswered(err error) bool {
	if _, ok := errors.AsType[unsentError](err); ok || err == nil {
		return false
	}
	_, isCode := errors.AsType[kafkago.Error](err)
	return !isCode
}

// unknownTopic reports that there is no such topic or partition, as far as the
// server, or kafka-go's copy of the metadata, knows. The latter has an error of
// its own, which is also what it says when it has no metadata at all.
func unknownTopic(err error) bool {
	return errors.Is(err, kafkago.UnknownTopicOrPartition) ||
		errors.Is(err, protocol.ErrNoTopic) ||
		errors.Is(err, protocol.ErrNoPartition)
}

// fenced reports that the group has gone on without this member.
func fenced(err error) bool {
	return errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.IllegalGeneration)
}

// remedy says what to look at when a server cannot be reached, in words to
// follow the error. It is empty if a server has answered, and let us in.
func remedy(err error) string {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, isCert := errors.AsType[*tls.CertificateVerificationError](err)
	_, isCode := errors.AsType[kafkago.Error](err)
	switch {
	case isCert:
		return ": check the certificate, or give its authority (ca=…, WithTLS)"
	case errors.Is(err, kafkago.SASLAuthenticationFailed), errors.Is(err, kafkago.UnsupportedSASLMechanism):
		return ": check the user, the password and the SASL mechanism"
	case isCode:
		return ""
	case isDNS:
		return ": check the name " + dns.Name
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return ": check that the port is Kafka's, and whether it wants TLS or SASL"
	}
	return ": check the address, and that Kafka runs there"
}

// ended returns the reason why ctx ended, which may say more than ctx.Err().
func ended(ctx context.Context) error { return context.Cause(ctx) }
