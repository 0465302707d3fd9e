package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	callTimeout     = 2 * time.Second // for each call to the registry
	withdrawTimeout = 5 * time.Second
)

// Why an instance is no longer registered.
var (
	errLost      = errors.New("resolver: the registration was lost: its lease ended, or its key was deleted")
	errWithdrawn = errors.New("resolver: withdrawn, because the announcer was stopped")
)

// Announcer keeps instances in a registry for ever: it registers them, and
// again whenever the registry loses them, however long it is away. Losing a
// service for good because one renewal failed is the most frequent complaint
// about registries on etcd.
//
// Update is safe for concurrent use; set OnChange and SetLogger before Run.
type Announcer struct {
	registrar Registrar
	logger    *slog.Logger
	onChange  func(registered bool, err error)
	wake      chan struct{} // of capacity 1: want has changed

	mu      sync.Mutex // guards what follows; never held while calling out
	want    []*Instance
	version int           // of want, counted up by Update
	applied int           // the version that the registry has
	begun   bool          // Run was called
	ended   bool          // Run has returned
	changed chan struct{} // closed and replaced when applied or ended changes
	state   AnnouncerState
}

// NewAnnouncer returns an Announcer of insts, which share one lease.
func NewAnnouncer(r Registrar, insts ...*Instance) *Announcer {
	want := make([]*Instance, len(insts))
	for i, inst := range insts {
		if inst != nil {
			want[i] = inst.Clone()
		}
	}
	return &Announcer{
		registrar: r,
		logger:    slog.Default(),
		onChange:  func(bool, error) {},
		wake:      make(chan struct{}, 1),
		want:      want,
		applied:   -1,
		changed:   make(chan struct{}),
	}
}

// SetLogger sets where to log each change of state. The default is
// slog.Default().
func (a *Announcer) SetLogger(logger *slog.Logger) { a.logger = logger }

// OnChange sets what to call, on Run's goroutine, when the instances become
// registered or, with the reason, are not any longer.
func (a *Announcer) OnChange(f func(registered bool, err error)) { a.onChange = f }

// Run registers the instances and keeps them registered until ctx ends; then it
// withdraws them, within 5 s of its own, and returns nil or why that failed
// (the entry then goes when its lease ends). An instance that no registry would
// take is an error at once. Each call to the registry has 2 s; between
// failures it waits from 100 ms to 5 s. An Announcer runs once.
func (a *Announcer) Run(ctx context.Context) error {
	insts, err := a.begin()
	if err != nil {
		return err
	}
	defer a.end()
	log := a.logger.With("service", insts[0].Service, "id", insts[0].ID)
	retry, down := newBackoff(), false
	for {
		reg, err := a.register(ctx)
		if err == nil {
			log.Info("resolver: registered", "names", len(insts))
			down = false
			a.turn(true, nil)
			err = a.keep(ctx, reg, log)
			if ctx.Err() != nil {
				return a.withdraw(ctx, reg, log)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if !down { // one line a change, not one an attempt
			log.Error("resolver: not registered, trying again until it is", "error", err)
			a.turn(false, err)
			down = true
		}
		if !retry.pause(ctx, nil) {
			return nil
		}
	}
}

func (a *Announcer) begin() ([]*Instance, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.registrar == nil {
		return nil, errors.New("resolver: NewAnnouncer was given no Registrar: pass what Open returns")
	}
	if a.begun {
		return nil, errors.New("resolver: an Announcer runs once: make another one")
	}
	a.begun = true
	a.state.Since = time.Now()
	return a.want, ValidateInstances(a.want...)
}

func (a *Announcer) register(ctx context.Context) (Registration, error) {
	want, version := a.wanted()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reg, err := a.registrar.Register(ctx, want...)
	if err == nil {
		a.apply(version)
	}
	return reg, err
}

// keep brings updates to the registry until the registration is lost or ctx
// ends.
func (a *Announcer) keep(ctx context.Context, reg Registration, log *slog.Logger) error {
	var edited <-chan struct{} // nobody else changes it
	edits := editsOf(reg)
	if edits != nil {
		edited = edits.changed()
	}
	for failures := 0; ; {
		var retry <-chan time.Time
		if want, version := a.wanted(); !a.has(version) {
			err := update(ctx, reg, want)
			switch {
			case err == nil:
				log.Info("resolver: updated", "draining", want[0].Draining, "weight", want[0].Weight)
				failures = 0
				a.apply(version)
			case ctx.Err() == nil:
				if failures == 0 {
					log.Warn("resolver: update failed, trying again until it is there", "error", err)
				}
				retry = time.After(delay(failures))
				failures++
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-reg.Lost():
			return errLost
		case <-a.wake:
		case <-retry:
		case <-edited:
			a.adopt(edits.take(), log)
		}
	}
}

// adopt makes what others have changed in the registry our own, so that it
// outlives a re-registration. The registry has it already.
func (a *Announcer) adopt(edits []*Instance, log *slog.Logger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	want := slices.Clone(a.want)
	for _, edit := range edits {
		if at := slices.IndexFunc(want, edit.sameAs); at >= 0 {
			want[at] = edit
			log.Info("resolver: changed by someone else", "name", edit.Service, "draining", edit.Draining, "weight", edit.Weight)
		}
	}
	a.want = want
}

func update(ctx context.Context, reg Registration, want []*Instance) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reg.Update(ctx, want...)
}

// withdraw runs when ctx has ended, under a deadline of its own.
func (a *Announcer) withdraw(ctx context.Context, reg Registration, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	defer a.turn(false, errWithdrawn)
	if err := reg.Deregister(ctx); err != nil {
		return fmt.Errorf("resolver: withdraw: %w", err)
	}
	log.Info("resolver: withdrawn")
	return nil
}

// Update changes every instance: to drain, to resume, to weigh. change gets a
// copy of each, and must leave Service and ID alone. Update blocks until the
// registry has the change or ctx ends; in that case, too, the change stands,
// and reaches the registry as soon as that can be reached.
func (a *Announcer) Update(ctx context.Context, change func(*Instance)) error {
	version, err := a.change(change)
	if err != nil {
		return err
	}
	select {
	case a.wake <- struct{}{}:
	default: // it will look anyway
	}
	for {
		a.mu.Lock()
		applied, ended, changed := a.applied, a.ended, a.changed
		a.mu.Unlock()
		if applied >= version {
			return nil
		}
		if ended {
			return errors.New("resolver: update: the announcer has ended, and its instances are withdrawn")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("resolver: the registry does not have the update yet, and gets it when it can be reached: %w", ctx.Err())
		}
	}
}

func (a *Announcer) change(change func(*Instance)) (version int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := ValidateInstances(a.want...); err != nil {
		return 0, err
	}
	want, err := Edited(a.want, change)
	if err != nil {
		return 0, err
	}
	a.want = want
	a.version++
	return a.version, nil
}

func (a *Announcer) wanted() ([]*Instance, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.want, a.version
}

func (a *Announcer) has(version int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied >= version
}

func (a *Announcer) apply(version int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.applied = version
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *Announcer) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	close(a.changed)
	a.changed = make(chan struct{})
}
