package resolver

import (
	"context"
	"fmt"
	"iter"
)

// SetServiceConfig implements Configurer. It does not block.
func (m *Memory) SetServiceConfig(ctx context.Context, service, json string) error {
	if err := ValidateService(service); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("resolver: service config of %s: %w", service, err)
	}
	st := m.store
	st.mu.Lock()
	defer st.mu.Unlock()
	if m.closed() {
		return ErrClosed
	}
	if json == "" {
		delete(st.configs, service)
	} else {
		st.configs[service] = json
	}
	close(st.changed)
	st.changed = make(chan struct{})
	return nil
}

// WatchServiceConfig implements Configurer.
func (m *Memory) WatchServiceConfig(ctx context.Context, service string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := ValidateService(service); err != nil {
			yield("", err)
			return
		}
		for last, first := "", true; ctx.Err() == nil; {
			if m.closed() {
				yield("", ErrClosed)
				return
			}
			json, changed := m.store.config(service)
			if (first || json != last) && !yield(json, nil) {
				return
			}
			last, first = json, false
			select {
			case <-changed:
			case <-m.done:
			case <-ctx.Done():
			}
		}
	}
}

func (st *memoryStore) config(service string) (json string, changed <-chan struct{}) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.configs[service], st.changed
}
