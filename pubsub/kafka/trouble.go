package kafka

import (
	"errors"
	"fmt"
	"log/slog"

	kafkago "github.com/segmentio/kafka-go"
)

// trouble logs when something goes wrong, when it goes wrong in another way,
// and when it is over, but not each try between.
type trouble struct {
	log  *slog.Logger
	kind string // "" while all is well
}

// newTrouble returns one that says what does not work.
func newTrouble(log *slog.Logger, what string) *trouble {
	return &trouble{log: log.With("trouble", what)}
}

func (t *trouble) is(err error) {
	kind := ""
	if code, ok := errors.AsType[kafkago.Error](err); ok {
		kind = code.Title()
	} else if err != nil {
		kind = remedy(err) // its text may hold the port of our side, which is new each time
	}
	if kind == t.kind {
		return
	}
	t.kind = kind
	if err == nil {
		t.log.Info("kafka: subscription goes on")
	} else {
		t.log.Warn("kafka: subscription waits, and tries again", "error", fmt.Sprint(err, remedy(err)))
	}
}
