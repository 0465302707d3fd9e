package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

var _ resolver.Configurer = (*Registry)(nil)

// configKey is beside the instances and not among them: etcd's naming client,
// which lists those, would take it for one.
func (r *Registry) configKey(service string) string { return r.prefix + ".config/" + service }

// SetServiceConfig implements resolver.Configurer, as the value of the key
// <prefix>.config/<service>. It blocks on etcd: for at most 5 s, if ctx has no
// deadline.
func (r *Registry) SetServiceConfig(ctx context.Context, service, json string) error {
	if err := resolver.ValidateService(service); err != nil {
		return err
	}
	call, err := r.begin(ctx, "set the service config of "+service)
	if err != nil {
		return err
	}
	defer call.end()
	if json == "" {
		_, err = r.client.Delete(call.ctx, r.configKey(service))
	} else {
		_, err = r.client.Put(call.ctx, r.configKey(service), json)
	}
	if err != nil {
		return call.failed(err)
	}
	return nil
}

// WatchServiceConfig implements resolver.Configurer. The key is read again now
// and then, for a store that was replaced tells nothing.
func (r *Registry) WatchServiceConfig(ctx context.Context, service string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := resolver.ValidateService(service); err != nil {
			yield("", err)
			return
		}
		err := r.watchConfig(ctx, service, yield)
		switch {
		case err == nil || ctx.Err() != nil:
		case r.ctx.Err() != nil:
			yield("", resolver.ErrClosed)
		default:
			yield("", fmt.Errorf("etcd: watch the service config of %s: %w", service, err))
		}
	}
}

// watchConfig returns nil when yield has had enough.
func (r *Registry) watchConfig(ctx context.Context, service string, yield func(string, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()

	json, revision, err := r.config(ctx, service)
	if err != nil {
		return err
	}
	if !yield(json, nil) {
		return nil
	}
	again := time.NewTimer(jittered(r.compare))
	defer again.Stop()
	watching, stream := r.streams.on(clientv3.WithRequireLeader(ctx))
	changes := r.client.Watch(watching, r.configKey(service), clientv3.WithRev(revision+1))
	for {
		next := json
		select {
		case res, ok := <-changes:
			switch {
			case !ok:
				return errors.New("the watch was closed")
			case res.Err() != nil:
				r.streams.renew(stream, res.Err()) // for the watch that follows this one
				return res.Err()
			}
			for _, event := range res.Events {
				next = valueOf(event)
			}
		case <-again.C:
			now, at, err := r.config(ctx, service)
			switch {
			case err != nil: // etcd is away: the watch finds out, and what is known stays
			case at < revision:
				return fmt.Errorf("the store was replaced: it was at revision %d, and is at %d", revision, at)
			default:
				next, revision = now, at
			}
			again.Reset(jittered(r.compare))
		}
		if next != json && !yield(next, nil) {
			return nil
		}
		json = next
	}
}

func valueOf(event *clientv3.Event) string {
	if event.Type == mvccpb.DELETE {
		return ""
	}
	return string(event.Kv.GetValue())
}

// config reads the config, and the revision of the store.
func (r *Registry) config(ctx context.Context, service string) (json string, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout) // that of ctx is for the watch
	defer cancel()
	call, err := r.begin(ctx, "read the service config of "+service)
	if err != nil {
		return "", 0, err
	}
	defer call.end()
	res, err := r.client.Get(call.ctx, r.configKey(service))
	if err != nil {
		return "", 0, call.failed(err)
	}
	for _, kv := range res.Kvs {
		json = string(kv.GetValue())
	}
	return json, res.Header.GetRevision(), nil
}
