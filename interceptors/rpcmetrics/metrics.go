package rpcmetrics

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/grpc-micro/micro/interceptors/internal/methods"
)

// side is whose metrics they are, and a part of their names.
type side string

const (
	server side = "server"
	client side = "client"
)

// metrics is one side's.
type metrics struct {
	side     side
	calls    [kinds]methods.Table[method]
	exemplar func(context.Context) prometheus.Labels // nil: none
	seconds  *prometheus.HistogramVec

	started, handled, received, sent *prometheus.Desc
}

func newMetrics(of side, opts []Option) *metrics {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("grpc_"+string(of)+"_"+name, help+" on the "+string(of)+".", append(labels[:3:3], more...), nil)
	}
	seconds := prometheus.HistogramOpts{
		Name:    "grpc_" + string(of) + "_handling_seconds",
		Help:    "Duration of RPCs, in seconds, on the " + string(of) + ".",
		Buckets: prometheus.DefBuckets,
	}
	if o.histogram != nil {
		o.histogram(&seconds)
	}
	m := &metrics{
		side:     of,
		exemplar: o.exemplar,
		seconds:  prometheus.NewHistogramVec(seconds, labels),
		started:  desc("started_total", "RPCs started"),
		handled:  desc("handled_total", "RPCs completed, whether they succeeded or not,", "grpc_code"),
		received: desc("msg_received_total", "Messages received"),
		sent:     desc("msg_sent_total", "Messages sent"),
	}
	for k := range kinds {
		m.calls[k].New = func(fullMethod string) *method { return m.newMethod(k, fullMethod) }
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.started, m.handled, m.received, m.sent} {
		ch <- desc
	}
	m.seconds.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for k := range m.calls {
		for _, of := range m.calls[k].All() {
			m.collect(ch, of)
		}
	}
	m.seconds.Collect(ch)
}

func (m *metrics) collect(ch chan<- prometheus.Metric, of *method) {
	succeeded := of.handled[codes.OK].Load()
	for code := range of.handled {
		// Whoever looks at the rate of failures wants to see the first one.
		if n := of.handled[code].Load(); n > 0 || of.complete.Load() {
			counter(ch, m.handled, n, of.labels, codes.Code(code).String())
		}
	}
	started := of.started.Load() // after those that ended, so that it is never less
	counter(ch, m.started, started, of.labels)
	received, sent := m.messages(of, started, succeeded)
	counter(ch, m.received, received, of.labels)
	counter(ch, m.sent, sent, of.labels)
}

// messages knows that a unary call has one request and, if it succeeds, one
// answer. Only those of streams are counted.
func (m *metrics) messages(of *method, started, succeeded int64) (received, sent int64) {
	switch {
	case !of.unary:
		return of.received.Load(), of.sent.Load()
	case m.side == server:
		return started, succeeded
	default:
		return succeeded, started
	}
}

func counter(ch chan<- prometheus.Metric, desc *prometheus.Desc, n int64, labels []string, more ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append(slices.Clip(labels), more...)...)
}
