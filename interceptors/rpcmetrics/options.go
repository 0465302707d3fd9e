package rpcmetrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// Option changes the metrics of a Server or a Client.
type Option func(*options)

type options struct {
	histogram func(*prometheus.HistogramOpts)
	exemplar  func(context.Context) prometheus.Labels
}

// WithHistogram lets change set up the histogram of durations: its buckets,
// which are prometheus.DefBuckets (5 ms to 10 s) otherwise, or native ones.
func WithHistogram(change func(*prometheus.HistogramOpts)) Option {
	return func(o *options) { o.histogram = change }
}

// WithExemplars gives the durations exemplars: what of returns for the call's
// context at its end, such as a trace_id if the trace is sampled; nil is none.
// Put the interceptors inside those that put it into the context. The default is
// none.
func WithExemplars(of func(context.Context) prometheus.Labels) Option {
	return func(o *options) { o.exemplar = of }
}
