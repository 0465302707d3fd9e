package rpctest

import (
	"encoding/json"
	"log/slog"
)

// Line is one line of a log, by key.
type Line map[string]any

// Log returns a logger and the channel to which each of its lines, from level
// on, goes.
func Log(level slog.Level) (*slog.Logger, <-chan Line) {
	lines := make(chan Line, 100)
	return slog.New(slog.NewJSONHandler(writer(lines), &slog.HandlerOptions{Level: level})), lines
}

// writer takes one line a call, as slog's handlers write.
type writer chan<- Line

func (w writer) Write(p []byte) (int, error) {
	var line Line
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	w <- line
	return len(p), nil
}
