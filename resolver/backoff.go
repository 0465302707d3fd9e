package resolver

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// The shape of grpc's connection backoff, with a registry's patience: it is one
// small cluster that everyone waits for, and back within seconds.
const (
	firstDelay   = 100 * time.Millisecond
	longestDelay = 5 * time.Second
	multiplier   = 1.6
	jitter       = 0.2
)

func delay(failures int) time.Duration {
	d := min(float64(firstDelay)*math.Pow(multiplier, float64(failures)), float64(longestDelay))
	return time.Duration(d * (1 + jitter*(2*rand.Float64()-1))) //nolint:gosec // spreads load, hides nothing
}

// pause waits as long as so many failures in a row ask for, or until nudged. It
// reports false when ctx ended.
func pause(ctx context.Context, failures int, nudge <-chan struct{}) bool {
	timer := time.NewTimer(delay(failures))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-nudge:
	case <-ctx.Done():
		return false
	}
	return ctx.Err() == nil
}
