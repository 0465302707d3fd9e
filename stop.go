package micro

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stop takes the service out of service in the order that Run's doc gives.
func (s *Service) stop(ctx context.Context) error {
	s.opts.logger.Info("micro: stopping", "service", s.name, "id", s.opts.id)
	close(s.calls.stopping)
	s.health.Shutdown()
	s.announce.drain(ctx)
	time.Sleep(s.opts.drainDelay)

	ctx, cancel := context.WithTimeout(ctx, s.opts.shutdownTimeout)
	defer cancel()
	// Handlers and tasks get most of the time; the rest is for ending them by
	// force and for the brokers, which hold messages.
	patience, cancelPatience := context.WithTimeout(ctx, s.opts.shutdownTimeout*4/5)
	defer cancelPatience()
	err := errors.Join(s.announce.withdraw(patience), s.tasks.stop(patience), s.stopServer(patience, ctx))
	for _, b := range s.opts.brokers {
		if closeErr := b.Close(ctx); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("micro: service %s: closing the broker: %w", s.name, closeErr))
		}
	}
	s.opts.logger.Info("micro: stopped", "service", s.name, "id", s.opts.id, "error", err)
	return err
}

// stopServer lets calls end until patience ends, ends them until ctx ends, and
// then gives up on handlers that ignore their context.
func (s *Service) stopServer(patience, ctx context.Context) error {
	graceful := make(chan struct{})
	go func() {
		s.server.GracefulStop()
		close(graceful)
	}()
	select {
	case <-graceful:
		return nil
	case <-patience.Done():
	}
	s.opts.logger.Warn("micro: ending calls that did not end by themselves", "service", s.name, "calls", s.calls.inFlight())
	s.calls.endStreams()
	select { // a moment for the handlers' status to reach the clients
	case <-graceful:
		return nil
	case <-time.After(s.opts.shutdownTimeout / 20):
	}
	go s.server.Stop() // makes GracefulStop return once the handlers have
	select {
	case <-graceful:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("micro: service %s: handlers ignored the end of their context: %s still running after %v: let them return when it ends", s.name, s.calls.inFlight(), s.opts.shutdownTimeout)
	}
}

// unused closes what was handed over, when Run fails before it is used.
func (s *Service) unused() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.shutdownTimeout)
	defer cancel()
	var errs []error
	if s.opts.listener != nil {
		errs = append(errs, s.opts.listener.Close())
	}
	for _, b := range s.opts.brokers {
		if b != nil {
			errs = append(errs, b.Close(ctx))
		}
	}
	return errors.Join(errs...)
}
