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

	// nudgedDelay is the least that a nudge cuts a delay to: grpc sends one for
	// each connection that fails, and they may be many.
	nudgedDelay = time.Second
)

// backoff paces the attempts at something that should last. The delays begin
// anew after an attempt that lasted longer than the longest of them, and not
// after one that worked for a moment: that would be a hot loop.
type backoff struct {
	failures int
	began    time.Time // the attempt under way
}

func newBackoff() *backoff { return &backoff{began: time.Now()} }

// pause waits before the next attempt, less if nudged. It reports false when
// ctx has ended.
func (b *backoff) pause(ctx context.Context, nudge <-chan struct{}) bool {
	if time.Since(b.began) > longestDelay {
		b.failures = 0
	}
	select {
	case <-nudge: // of a time when there was nothing to wait for
	default:
	}
	d := delay(b.failures)
	b.failures++
	least := min(d, nudgedDelay)
	ok := sleep(ctx, least, nil) && sleep(ctx, d-least, nudge)
	b.began = time.Now()
	return ok
}

func delay(failures int) time.Duration {
	d := min(float64(firstDelay)*math.Pow(multiplier, float64(failures)), float64(longestDelay))
	return time.Duration(d * (1 + jitter*(2*rand.Float64()-1))) //nolint:gosec // spreads load, hides nothing
}

func sleep(ctx context.Context, d time.Duration, nudge <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-nudge:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
