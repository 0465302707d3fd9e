package nats

import "log/slog"

// trouble logs when something goes wrong, when it goes wrong in another way,
// and when it is over, but not each try between.
type trouble struct {
	log  *slog.Logger
	last string // "" while all is well
}

// newTrouble returns one that says what does not work.
func newTrouble(log *slog.Logger, what string) *trouble {
	return &trouble{log: log.With("what", what)}
}

func (t *trouble) is(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == t.last {
		return
	}
	t.last = text
	if err == nil {
		t.log.Info("nats: subscription goes on")
	} else {
		t.log.Warn("nats: subscription waits, and tries again", "error", err)
	}
}
