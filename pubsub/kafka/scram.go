package kafka

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
)

// maxIterations is the most work that a server may ask for: 30 times what Kafka
// does by default, and a second or so of computing.
const maxIterations = 1 << 20

func newMechanism(name, user, password string) (sasl.Mechanism, error) {
	if user == "" {
		return nil, fmt.Errorf("kafka: sasl %s without a user", name)
	}
	switch strings.ToUpper(name) {
	case "PLAIN":
		return plain.Mechanism{Username: user, Password: password}, nil
	case "SCRAM-SHA-256":
		return &scram{name: "SCRAM-SHA-256", hash: sha256.New, user: user, password: password}, nil
	case "SCRAM-SHA-512":
		return &scram{name: "SCRAM-SHA-512", hash: sha512.New, user: user, password: password}, nil
	}
	return nil, fmt.Errorf("kafka: sasl mechanism %q: use plain, scram-sha-256 or scram-sha-512", name)
}

// scram is the client's side of SCRAM (RFC 5802), without channel binding, as
// Kafka has it. Like Kafka's own it takes the password as it is, without
// SASLprep. It is written here because kafka-go's needs a module more.
type scram struct {
	name           string
	hash           func() hash.Hash
	user, password string
	nonce          string // for tests; empty: random
}

func (s *scram) Name() string { return s.name }

func (s *scram) Start(context.Context) (sasl.StateMachine, []byte, error) {
	c := &scramConversation{scram: s, nonce: s.nonce}
	if c.nonce == "" {
		c.nonce = rand.Text()
	}
	c.first = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s.user) + ",r=" + c.nonce
	return c, []byte("n,," + c.first), nil
}

// scramConversation is one authentication.
type scramConversation struct {
	*scram

	nonce     string
	first     string // our first message, without the GS2 header
	signature []byte // that the server must prove itself with; nil until it has sent its first message
}

func (c *scramConversation) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if c.signature == nil {
		answer, err := c.answer(string(challenge))
		return false, answer, err
	}
	fields := scramFields(string(challenge))
	if text := fields["e"]; text != "" {
		return false, nil, fmt.Errorf("kafka: %s: the server refused: %s", c.name, text)
	}
	signature, err := base64.StdEncoding.DecodeString(fields["v"])
	if err != nil || subtle.ConstantTimeCompare(signature, c.signature) != 1 {
		return false, nil, fmt.Errorf("kafka: %s: the server does not know the password", c.name)
	}
	return true, nil, nil
}

// answer makes our final message from the server's first one.
func (c *scramConversation) answer(challenge string) ([]byte, error) {
	fields := scramFields(challenge)
	if text := fields["e"]; text != "" {
		return nil, fmt.Errorf("kafka: %s: the server refused: %s", c.name, text)
	}
	nonce := fields["r"]
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	iterations, iterErr := strconv.Atoi(fields["i"])
	switch {
	case errors.Join(err, iterErr) != nil || len(salt) == 0:
		return nil, fmt.Errorf("kafka: %s: malformed challenge", c.name)
	case iterations < 1 || iterations > maxIterations:
		return nil, fmt.Errorf("kafka: %s: the server asks for %d iterations", c.name, iterations)
	case len(nonce) <= len(c.nonce) || !strings.HasPrefix(nonce, c.nonce):
		return nil, fmt.Errorf("kafka: %s: the challenge is not for us", c.name)
	}
	salted, err := pbkdf2.Key(c.hash, c.password, salt, iterations, c.hash().Size())
	if err != nil {
		return nil, fmt.Errorf("kafka: %s: %w", c.name, err)
	}
	final := "c=biws,r=" + nonce // biws is "n,,"
	auth := c.first + "," + challenge + "," + final
	clientKey := c.mac(salted, "Client Key")
	stored := c.hash()
	stored.Write(clientKey)
	proof := c.mac(stored.Sum(nil), auth)
	subtle.XORBytes(proof, proof, clientKey)
	c.signature = c.mac(c.mac(salted, "Server Key"), auth)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func (c *scramConversation) mac(key []byte, text string) []byte {
	m := hmac.New(c.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// scramFields splits "r=…,s=…,i=…".
func scramFields(message string) map[string]string {
	fields := make(map[string]string)
	for field := range strings.SplitSeq(message, ",") {
		if name, value, ok := strings.Cut(field, "="); ok {
			fields[name] = value
		}
	}
	return fields
}
