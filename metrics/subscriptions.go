package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/grpc-micro/micro/pubsub"
)

var (
	subscriptionLabels = []string{"topic", "group"}
	members            = prometheus.NewDesc("micro_subscription_members", "Subscribe calls that run.", subscriptionLabels, nil)
	paused             = prometheus.NewDesc("micro_subscription_paused", "Of them, those that their gate has paused.", subscriptionLabels, nil)
	running            = prometheus.NewDesc("micro_subscription_running", "Handlers at work.", subscriptionLabels, nil)
	window             = prometheus.NewDesc("micro_subscription_window", "Size of the window of a partition, in messages.", subscriptionLabels, nil)
	handled            = prometheus.NewDesc("micro_subscription_handled_total", "Messages acknowledged, dead letters among them.", subscriptionLabels, nil)
	retries            = prometheus.NewDesc("micro_subscription_retries_total", "Tries that failed, and were or will be followed by another.", subscriptionLabels, nil)
	delayed            = prometheus.NewDesc("micro_subscription_delayed_total", "Messages put into a retry topic.", subscriptionLabels, nil)
	deadLetters        = prometheus.NewDesc("micro_subscription_dead_letters_total", "Messages put into the dead-letter topic.", subscriptionLabels, nil)
	undelivered        = prometheus.NewDesc("micro_subscription_undelivered_total", "Tries to put one into another topic that failed.", subscriptionLabels, nil)
	rebalances         = prometheus.NewDesc("micro_subscription_rebalances_total", "How often partitions were assigned.", subscriptionLabels, nil)
	unassigned         = prometheus.NewDesc("micro_subscription_unassigned_seconds", "How long a member has not been told its partitions, the one that waits longest.", subscriptionLabels, nil)

	partitionLabels = []string{"topic", "group", "partition"}
	lag             = prometheus.NewDesc("micro_partition_lag", "Messages that are not finished.", partitionLabels, nil)
	pending         = prometheus.NewDesc("micro_partition_pending", "Messages fetched, and not finished.", partitionLabels, nil)
	windowUsed      = prometheus.NewDesc("micro_partition_window_used", "From the oldest unfinished message to the newest fetched.", partitionLabels, nil)
	standing        = prometheus.NewDesc("micro_partition_standing_seconds", "How long the oldest message in hand has been that.", partitionLabels, nil)
	blocked         = prometheus.NewDesc("micro_partition_blocked_seconds", "How long a full window has stopped fetching.", partitionLabels, nil)
	silent          = prometheus.NewDesc("micro_partition_silent_seconds", "How long the broker has not answered.", partitionLabels, nil)
	stalled         = prometheus.NewDesc("micro_partition_stalled", "Whether it has messages and gets nowhere.", partitionLabels, nil)
)

// NewSubscriptionCollector returns a collector of the subscriptions of this
// process. Register it once. With the labels topic and group, which is empty for a
// broadcast:
//
//	micro_subscription_members               Subscribe calls that run; what follows is their sum
//	micro_subscription_paused                of them, those that their gate has paused
//	micro_subscription_running               handlers at work
//	micro_subscription_window                size of a partition's window, in messages; the least of the members
//	micro_subscription_handled_total         messages acknowledged, dead letters among them
//	micro_subscription_retries_total         tries that failed, and were or will be followed by another
//	micro_subscription_delayed_total         messages put into a retry topic
//	micro_subscription_dead_letters_total    messages put into the dead-letter topic
//	micro_subscription_undelivered_total     tries to put one into either that failed
//	micro_subscription_rebalances_total      how often partitions were assigned
//	micro_subscription_unassigned_seconds    how long a member has not been told its partitions; the most of the members
//
// Of each partition that a member has, with the label partition too, the worst of
// the members of a broadcast:
//
//	micro_partition_lag                      messages that are not finished; left out while it is not known
//	micro_partition_pending                  messages fetched, and not finished
//	micro_partition_window_used              from the oldest unfinished message to the newest fetched
//	micro_partition_standing_seconds         how long the oldest message in hand has been that
//	micro_partition_blocked_seconds          how long a full window has stopped fetching
//	micro_partition_silent_seconds           how long the broker has not answered
//	micro_partition_stalled                  1 while it has messages and gets nowhere
//
// Counters begin anew with each Subscribe call. Alert on micro_partition_stalled,
// on micro_subscription_unassigned_seconds above what a drain may take, on
// micro_subscription_undelivered_total, and on lag that grows.
func NewSubscriptionCollector() prometheus.Collector { return subscriptions{} }

type subscriptions struct{}

// Describe implements prometheus.Collector.
func (subscriptions) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		members, paused, running, window, handled, retries, delayed, deadLetters, undelivered, rebalances, unassigned,
		lag, pending, windowUsed, standing, blocked, silent, stalled,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (subscriptions) Collect(ch chan<- prometheus.Metric) {
	states := pubsub.Subscriptions()
	for len(states) > 0 { // ordered by topic and group
		s, n := states[0], 1
		for n < len(states) && states[n].Topic == s.Topic && states[n].Group == s.Group {
			n++
		}
		collectSubscription(ch, states[:n])
		states = states[n:]
	}
}

// collectSubscription shows the members of one group: Prometheus takes each set of
// labels once.
func collectSubscription(ch chan<- prometheus.Metric, of []pubsub.SubscriptionState) {
	sum, pauses := of[0], 0
	partitions := make(map[int]partition)
	for i, s := range of {
		if s.Paused {
			pauses++
		}
		for _, p := range s.Partitions {
			at, known := partitions[p.Partition]
			if !known {
				at.lag = -1
			}
			partitions[p.Partition] = at.worse(p)
		}
		if i == 0 {
			continue
		}
		sum.Running += s.Running
		sum.Window = min(sum.Window, s.Window)
		sum.Handled += s.Handled
		sum.Retries += s.Retries
		sum.Delayed += s.Delayed
		sum.DeadLetters += s.DeadLetters
		sum.Undelivered += s.Undelivered
		sum.Rebalances += s.Rebalances
		sum.Unassigned = max(sum.Unassigned, s.Unassigned)
	}
	labels := []string{sum.Topic, sum.Group}
	gauge(ch, members, float64(len(of)), labels...)
	gauge(ch, paused, float64(pauses), labels...)
	gauge(ch, running, float64(sum.Running), labels...)
	gauge(ch, window, float64(sum.Window), labels...)
	counter(ch, handled, sum.Handled, labels...)
	counter(ch, retries, sum.Retries, labels...)
	counter(ch, delayed, sum.Delayed, labels...)
	counter(ch, deadLetters, sum.DeadLetters, labels...)
	counter(ch, undelivered, sum.Undelivered, labels...)
	counter(ch, rebalances, sum.Rebalances, labels...)
	gauge(ch, unassigned, sum.Unassigned.Seconds(), labels...)
	for n, p := range partitions {
		p.collect(ch, sum.Topic, sum.Group, strconv.Itoa(n))
	}
}

// partition is the worst of what is known of one.
type partition struct {
	lag, pending, window      int64
	standing, blocked, silent float64
	stalled                   float64
}

func (p partition) worse(s pubsub.PartitionState) partition {
	return partition{
		lag:      max(p.lag, s.Lag()),
		pending:  max(p.pending, int64(s.Pending)),
		window:   max(p.window, s.Window()),
		standing: max(p.standing, s.Standing.Seconds()),
		blocked:  max(p.blocked, s.Blocked.Seconds()),
		silent:   max(p.silent, s.Silent.Seconds()),
		stalled:  max(p.stalled, number(s.Stalled)),
	}
}

func (p partition) collect(ch chan<- prometheus.Metric, labels ...string) {
	if p.lag >= 0 {
		gauge(ch, lag, float64(p.lag), labels...)
	}
	gauge(ch, pending, float64(p.pending), labels...)
	gauge(ch, windowUsed, float64(p.window), labels...)
	gauge(ch, standing, p.standing, labels...)
	gauge(ch, blocked, p.blocked, labels...)
	gauge(ch, silent, p.silent, labels...)
	gauge(ch, stalled, p.stalled, labels...)
}
