// Package metrics shows Prometheus what can be found and how fresh that is, and
// what subscriptions do.
//
//	prometheus.MustRegister(metrics.NewCollector(svc.Registration), metrics.NewSubscriptionCollector())
//
// [NewSubscriptionCollector] lists what there is of topics and groups. Calls
// have metrics, too: in package interceptors/rpcmetrics.
//
// Of each service or Announcer that is given, with the labels service and id:
//
//	micro_registered                         1 while the registry has the instance
//	micro_registrations_total                how often it was registered; all but the first are losses made good
//	micro_registration_changed_seconds       when micro_registered last changed, as Unix time
//
// Of each service that clients of this process call, with the label service:
//
//	micro_watch_up                           1 while the registry tells changes
//	micro_watch_staleness_seconds            how long changes may have gone unseen; 0 while it is up
//	micro_watch_changed_seconds              when the instances last changed, as Unix time
//	micro_watch_failures_total               how often the watch has failed
//	micro_watch_instances                    instances that balancers were given
//	micro_watch_held_instances               of those, the ones that vanished right after an outage
//	micro_watch_clients                      connections that resolve it
//
// A service that is watched in two registries is one: instances and clients are
// summed, and of the rest the worse counts.
//
// State is read when it is scraped; calls and picks pay nothing. Alert on
// micro_registered == 0 and on micro_watch_staleness_seconds.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/grpc-micro/micro/resolver"
)

var (
	announcerLabels = []string{"service", "id"}
	registered      = prometheus.NewDesc("micro_registered", "Whether the registry has the instance.", announcerLabels, nil)
	registrations   = prometheus.NewDesc("micro_registrations_total", "How often the instance was registered.", announcerLabels, nil)
	turned          = prometheus.NewDesc("micro_registration_changed_seconds", "When micro_registered last changed, as Unix time.", announcerLabels, nil)

	watchLabels = []string{"service"}
	up          = prometheus.NewDesc("micro_watch_up", "Whether the registry tells changes of the service.", watchLabels, nil)
	staleness   = prometheus.NewDesc("micro_watch_staleness_seconds", "How long changes may have gone unseen.", watchLabels, nil)
	changed     = prometheus.NewDesc("micro_watch_changed_seconds", "When the instances last changed, as Unix time.", watchLabels, nil)
	failures    = prometheus.NewDesc("micro_watch_failures_total", "How often the watch has failed.", watchLabels, nil)
	instances   = prometheus.NewDesc("micro_watch_instances", "Instances that balancers were given.", watchLabels, nil)
	held        = prometheus.NewDesc("micro_watch_held_instances", "Instances that vanished right after an outage, and are held.", watchLabels, nil)
	clients     = prometheus.NewDesc("micro_watch_clients", "Connections that resolve the service.", watchLabels, nil)
)

// NewCollector returns a collector of this process's watches and of the
// announcers whose states are given: the Registration method of a
// *micro.Service, or the State method of a *resolver.Announcer. Those that are
// in no registry are left out. Register it once.
func NewCollector(announcers ...func() resolver.AnnouncerState) prometheus.Collector {
	return collector(announcers)
}

type collector []func() resolver.AnnouncerState

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{registered, registrations, turned, up, staleness, changed, failures, instances, held, clients} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, state := range c {
		if s := state(); s.Service != "" {
			gauge(ch, registered, number(s.Registered), s.Service, s.ID)
			counter(ch, registrations, s.Registrations, s.Service, s.ID)
			gauge(ch, turned, unix(s.Since), s.Service, s.ID)
		}
	}
	for _, w := range merged(resolver.Watches()) {
		gauge(ch, up, number(w.Watching), w.Service)
		gauge(ch, staleness, w.Staleness().Seconds(), w.Service)
		gauge(ch, changed, unix(w.Changed), w.Service)
		counter(ch, failures, w.Failures, w.Service)
		gauge(ch, instances, float64(w.Instances), w.Service)
		gauge(ch, held, float64(w.Held), w.Service)
		gauge(ch, clients, float64(w.Clients), w.Service)
	}
}

// merged makes one of the watches of a service, which stand side by side:
// Prometheus takes each set of labels once.
func merged(watches []resolver.WatchState) []resolver.WatchState {
	var out []resolver.WatchState
	for _, w := range watches {
		if len(out) == 0 || out[len(out)-1].Service != w.Service {
			out = append(out, w)
			continue
		}
		sum := &out[len(out)-1]
		w.Instances += sum.Instances
		w.Held += sum.Held
		w.Clients += sum.Clients
		w.Failures += sum.Failures
		if sum.Changed.After(w.Changed) {
			w.Changed = sum.Changed
		}
		if sum.Staleness() > w.Staleness() {
			w.Watching, w.Saved, w.Since = sum.Watching, sum.Saved, sum.Since
		}
		*sum = w
	}
	return out
}

func gauge(ch chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func counter(ch chan<- prometheus.Metric, desc *prometheus.Desc, value int64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// unix is 0 for a time that has not come.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
