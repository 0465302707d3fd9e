package pubsub_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/grpc-micro/micro/pubsub"
)

func TestPublishError(t *testing.T) {
	t.Parallel()
	cause := errors.New("too large")
	rejected := fmt.Errorf("%w: %w", pubsub.ErrRejected, cause)
	for _, test := range []struct {
		results []error
		text    string
		is      []error
		isNot   error
	}{
		{[]error{rejected}, "pubsub: rejected: too large", []error{pubsub.ErrRejected, cause}, pubsub.ErrNotSent},
		{
			[]error{nil, rejected, pubsub.ErrNotSent},
			"pubsub: 2 of 3 messages failed, the first: pubsub: rejected: too large",
			[]error{pubsub.ErrRejected, pubsub.ErrNotSent, cause},
			pubsub.ErrUnknown,
		},
		{[]error{nil}, "pubsub: nothing failed", nil, pubsub.ErrRejected},
	} {
		var err error = &pubsub.PublishError{Results: test.results}
		if err.Error() != test.text {
			t.Errorf("got %q, want %q", err, test.text)
		}
		for _, is := range test.is {
			if !errors.Is(err, is) {
				t.Errorf("%v is not %v", err, is)
			}
		}
		if errors.Is(err, test.isNot) {
			t.Errorf("%v is %v", err, test.isNot)
		}
	}
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	if err := pubsub.Permanent(nil); err != nil {
		t.Errorf("Permanent(nil) = %v", err)
	}
	cause := errors.New("no")
	if err := pubsub.Permanent(cause); !errors.Is(err, cause) || err.Error() != "no" {
		t.Errorf("got %v", err)
	}
	sub := subscription(t, discard{}, fails(fmt.Errorf("wrapped: %w", pubsub.Permanent(cause))))
	if _, err := sub.Handle(t.Context(), delivery()); !errors.Is(err, cause) {
		t.Errorf("a wrapped Permanent is not seen: %v", err)
	}
}
