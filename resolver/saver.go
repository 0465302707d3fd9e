package resolver

import (
	"context"
	"time"
)

const (
	// saveEvery bounds how often a snapshot is written: a deployment changes a
	// service many times in a row.
	saveEvery = time.Second
	// saveTimeout bounds how long the Close of a ClientConn waits for the disk.
	saveTimeout = time.Second
)

// saver writes the instances of a watch to disk as long as there is a ClientConn,
// behind its back: a disk that is slow or full holds up nothing but, for
// saveTimeout, the Close of the last one.
type saver struct {
	w       *watch
	dir     string
	unsaved chan struct{} // of capacity 1: there is something to save
	failed  bool          // the last time; touched by run only

	cancel context.CancelFunc // of the run that began last; guarded by shared
	done   chan struct{}      // likewise; closed when it has ended
}

// newSaver returns nil if there is nowhere to save to.
func newSaver(w *watch, dir string) *saver {
	if dir == "" {
		return nil
	}
	s := &saver{w: w, dir: dir, unsaved: make(chan struct{}, 1), done: make(chan struct{})}
	close(s.done) // there is no run yet
	return s
}

// start is for the first ClientConn, and stop for the last. They need shared.
func (s *saver) start() {
	if s == nil {
		return
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	before, done := s.done, make(chan struct{})
	s.done = done
	go s.run(ctx, before, done)
}

// stop returns, unless s is nil, what is closed when all is saved that there was
// to save.
func (s *saver) stop() (saved <-chan struct{}) {
	if s == nil {
		return nil
	}
	s.cancel()
	return s.done
}

func (s *saver) await(saved <-chan struct{}) {
	timeout := time.NewTimer(saveTimeout)
	defer timeout.Stop()
	select {
	case <-saved:
	case <-timeout.C:
		s.w.logger.Warn("resolver: the disk hangs, and the last change of the instances is saved when it goes on", "service", s.w.service, "dir", s.dir)
	}
}

// changed says that there is something to save.
func (s *saver) changed() {
	if s == nil {
		return
	}
	select {
	case s.unsaved <- struct{}{}:
	default: // it will look anyway
	}
}

// run saves each change until ctx ends. The run before this one may be about to
// write an older state.
func (s *saver) run(ctx context.Context, before <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	<-before
	for {
		select {
		case <-s.unsaved:
			s.save()
		case <-ctx.Done():
			select {
			case <-s.unsaved:
				s.save()
			default:
			}
			return
		}
		sleep(ctx, saveEvery, nil)
	}
}

func (s *saver) save() {
	err := writeSnapshot(s.dir, s.w.service, s.w.latest().instances)
	switch {
	case err != nil && !s.failed: // one line a change, not one an attempt
		s.w.logger.Warn("resolver: instances are not saved, so a start without the registry will not know them", "service", s.w.service, "dir", s.dir, "error", err)
	case err == nil && s.failed:
		s.w.logger.Info("resolver: instances are saved again", "service", s.w.service, "dir", s.dir)
	}
	s.failed = err != nil
}
