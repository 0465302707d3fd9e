package resolver

import (
	"context"
	"sync"
	"time"
)

// saveEvery bounds how often a snapshot is written: a deployment changes a
// service many times in a row.
const saveEvery = time.Second

// saver writes the instances of a watch to disk, behind its back: a disk that is
// slow or full holds up nothing.
type saver struct {
	w      *watch
	dir    string
	wake   chan struct{} // of capacity 1
	cancel context.CancelFunc
	done   sync.WaitGroup
	failed bool // the last time; touched by run only
}

// startSaver returns nil if there is nowhere to save to.
func startSaver(w *watch, dir string) *saver {
	if dir == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &saver{w: w, dir: dir, wake: make(chan struct{}, 1), cancel: cancel}
	s.done.Go(func() { s.run(ctx) })
	return s
}

// changed says that there is something to save.
func (s *saver) changed() {
	if s == nil {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// stop saves what there is to save, and returns when that is done.
func (s *saver) stop() {
	if s != nil {
		s.cancel()
		s.done.Wait()
	}
}

func (s *saver) run(ctx context.Context) {
	for {
		select {
		case <-s.wake:
			s.save()
		case <-ctx.Done():
			select {
			case <-s.wake:
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
