package nats

import (
	"crypto/tls"
	"errors"
	"net"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// refusal is an error about a topic that trying again does not cure.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// hopeless reports that trying again does not help, unless somebody changes
// something.
func hopeless(err error) bool {
	if _, ok := errors.AsType[refusal](err); ok {
		return true
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code < 500 // those are about the server: no leader, out of resources, a full stream
	}
	return refusedUs(err) ||
		errors.Is(err, natsgo.ErrMaxPayload) ||
		errors.Is(err, natsgo.ErrBadSubject) ||
		errors.Is(err, natsgo.ErrPermissionViolation) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// refusedUs reports that TLS or the authentication failed.
func refusedUs(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	return errors.Is(err, natsgo.ErrAuthorization) ||
		errors.Is(err, natsgo.ErrAuthExpired) ||
		errors.Is(err, natsgo.ErrAuthRevoked) ||
		errors.Is(err, natsgo.ErrSecureConnWanted) ||
		errors.Is(err, natsgo.ErrSecureConnRequired)
}

// notStored reports that a failed publication has left nothing in the stream,
// for sure: it never left, nobody has taken it, or the stream said why not.
func notStored(err error) bool {
	if _, ok := errors.AsType[*jetstream.APIError](err); ok {
		return true
	}
	return errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, natsgo.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrTooManyStalledMsgs) ||
		errors.Is(err, natsgo.ErrReconnectBufExceeded) ||
		errors.Is(err, natsgo.ErrMaxPayload) ||
		errors.Is(err, natsgo.ErrBadSubject)
}

// replaced reports that an entry is not at the revision that an update names.
func replaced(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// remedy says what to look at when a server cannot be reached, in words to
// follow the error.
func remedy(err error) string {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, isCert := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case isCert:
		return ": check the certificate, or give its authority (ca=…, WithTLS)"
	case errors.Is(err, natsgo.ErrSecureConnWanted):
		return ": the server has no TLS: leave out tls=true, or give it a certificate"
	case refusedUs(err):
		return ": check the user and the password, the token, or the credentials file"
	case isDNS:
		return ": check the name " + dns.Name
	}
	return ": check the address, and that NATS runs there"
}
