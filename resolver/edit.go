package resolver

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Editor is a registry in which operators change what other processes have
// registered: to drain an instance, to resume it, to weigh it. etcd and Memory
// are.
type Editor interface {
	// Edit changes every instance that is registered together with the one of
	// this service and ID: a process that is found under several names drains
	// under all of them. change gets a copy of each, and must leave Service and
	// ID alone. The lease stays its owner's, and with it the connections of
	// clients. The owner's Announcer takes the change over, so that it outlives
	// a re-registration; the owner's own next Update of the same thing wins.
	//
	// It blocks on the registry, at most until ctx ends, and changes all or
	// nothing: one that meets another change fails, and may be tried again. Safe
	// for concurrent use.
	Edit(ctx context.Context, service, id string, change func(*Instance)) error
}

// Edit calls the Edit of r, if it is an Editor.
func Edit(ctx context.Context, r Discovery, service, id string, change func(*Instance)) error {
	e, ok := r.(Editor)
	switch {
	case !ok:
		return fmt.Errorf("resolver: edit %s of %s: in a %T only the process itself changes its instances: do it there, with Announcer.Update", id, service, r)
	case change == nil:
		return fmt.Errorf("resolver: edit %s of %s: no change: pass a function", id, service)
	}
	return e.Edit(ctx, service, id, change)
}

// Edited returns what change makes of insts, or why that cannot be registered.
// It is for Editors.
func Edited(insts []*Instance, change func(*Instance)) ([]*Instance, error) {
	next := make([]*Instance, len(insts))
	for i, inst := range insts {
		next[i] = inst.Clone()
		change(next[i])
		if next[i].Service != inst.Service || next[i].ID != inst.ID {
			return nil, fmt.Errorf("resolver: a change of %s of %s makes it %s of %s: it must keep both", inst.ID, inst.Service, next[i].ID, next[i].Service)
		}
	}
	return next, ValidateInstances(next...)
}

// Edits is how the Registration of an Editor tells its Announcer what others
// have changed: it has a method
//
//	Edits() *Edits
//
// The zero Edits is ready to use. It is safe for concurrent use.
type Edits struct {
	once sync.Once
	c    chan struct{} // of capacity 1: there is something in news

	mu   sync.Mutex // guards news
	news []*Instance
}

// Add notes that somebody else has changed inst. It does not block.
func (e *Edits) Add(inst *Instance) {
	e.mu.Lock()
	e.news = append(slices.DeleteFunc(e.news, inst.sameAs), inst) // the latest counts
	e.mu.Unlock()
	select {
	case e.changed() <- struct{}{}:
	default: // it is said already
	}
}

func (e *Edits) changed() chan struct{} {
	e.once.Do(func() { e.c = make(chan struct{}, 1) })
	return e.c
}

func (e *Edits) take() []*Instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	news := e.news
	e.news = nil
	return news
}

func (i *Instance) sameAs(o *Instance) bool { return i.Service == o.Service && i.ID == o.ID }

// editsOf returns the edits of a registration; nil, of which nothing ever
// comes, for one that nobody else changes.
func editsOf(reg Registration) *Edits {
	if reg, ok := reg.(interface{ Edits() *Edits }); ok {
		return reg.Edits()
	}
	return nil
}
