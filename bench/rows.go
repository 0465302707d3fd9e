package main

import (
	"fmt"
	"time"

	"github.com/grpc-micro/micro/bench/peer"
)

// row is a peer as it is measured.
type row struct {
	name      string
	program   string // below peers
	mode      string
	instances int           // servers; 0: its server is Kafka
	deadline  time.Duration // of each unary call
	tcp       bool          // without local sockets
	setting   bool          // measured by -settings alone
	guard     float64       // the least that -quick takes, × base; 0: not looked at
}

// The rows that others are compared with.
const (
	callsBase  = "raw"
	eventsBase = "franz-go"
)

// rows are measured in this order, a different one first each time.
var rows = []row{
	{name: callsBase, program: "raw", instances: 1},
	{name: "raw, 3 instances", program: "raw", instances: 3},
	{name: "raw, deadline", program: "raw", instances: 1, deadline: time.Minute},
	{name: "raw, otelgrpc", program: "raw-otelgrpc", instances: 1},
	{name: "micro, 1 instance", program: "micro", instances: 1, guard: 0.75},
	{name: "micro, 1 instance over TCP", program: "micro", instances: 1, tcp: true},
	{name: "micro, 1 instance, tuned, chain and deadline", program: "micro", mode: "tuned", instances: 1, deadline: time.Minute},
	{name: "micro, 1 instance, metrics and tracing", program: "micro-observed", instances: 1, deadline: time.Minute, guard: 0.5},
	{name: "micro", program: "micro", instances: 3, guard: 0.65},
	{name: "micro, chain and deadline", program: "micro", mode: "chain", instances: 3, deadline: time.Minute, guard: 0.5},
	{name: "micro, metrics and tracing", program: "micro-observed", instances: 3, deadline: time.Minute},
	{name: "micro, tuned, chain and deadline", program: "micro", mode: "tuned", instances: 3, deadline: time.Minute, guard: 0.6},
	{name: "kratos", program: "kratos", instances: 1},
	{name: "go-zero", program: "gozero", instances: 1},
	{name: "connect-go", program: "connect", instances: 1},
	// What of grpc's could be a default, each by itself, beside that without any.
	{name: "as it is", program: "micro", instances: 1, tcp: true, setting: true},
	{name: "no stream workers", program: "micro", mode: "no workers", instances: 1, tcp: true, setting: true},
	{name: "windows of 1 MiB", program: "micro", mode: "windows", instances: 1, tcp: true, setting: true},
	{name: "buffers of 128 KiB", program: "micro", mode: "large buffers", instances: 1, tcp: true, setting: true},
	{name: "buffers of 4 KiB", program: "micro", mode: "small buffers", instances: 1, tcp: true, setting: true},
	{name: "keepalive", program: "micro", mode: "keepalive", instances: 1, tcp: true, setting: true},
	{name: "two connections", program: "micro", mode: "two connections", instances: 1, tcp: true, setting: true},
	{name: eventsBase, program: "franz"},
	{name: "franz-go, attributes", program: "franz", mode: "attributes"},
	{name: "micro on Kafka", program: "micro-kafka", guard: 0.25},
	{name: "watermill-kafka", program: "watermill"},
}

func (r row) base() string {
	if r.instances == 0 {
		return eventsBase
	}
	return callsBase
}

// selectRows takes the bases, too.
func selectRows(selected func(string) bool, settings bool) []row {
	var out []row
	for _, r := range rows {
		if r.name == r.base() || r.setting == settings && selected(r.name) {
			out = append(out, r)
		}
	}
	return out
}

// job is what each row does that can.
type job struct {
	peer.Job

	name string
	load float64 // of what the base can do; 0: all that the row can
}

func (j job) events() bool { return j.Kind == peer.PublishJob || j.Kind == peer.ConsumeJob }

var jobs = makeJobs()

func makeJobs() []job {
	var out []job
	add := func(kind peer.Kind, sizes, callers []int) {
		for _, size := range sizes {
			for _, n := range callers {
				out = append(out, job{Job: peer.Job{Kind: kind, Size: size, Callers: n}, name: fmt.Sprintf("%s %s ×%d", kind, sizeName(size), n)})
			}
		}
	}
	sizes, callers := []int{100, 1 << 10, 64 << 10}, []int{1, 64, 512}
	add(peer.UnaryJob, sizes, callers)
	add(peer.StreamJob, sizes, callers)
	out = append(out, job{Job: peer.Job{Kind: peer.UnaryJob, Size: 100, Callers: 64}, name: "unary 100B at half load", load: 0.5})
	add(peer.PublishJob, sizes[:2], []int{256})
	add(peer.ConsumeJob, sizes[:2], []int{1})
	return out
}

func sizeName(n int) string {
	if n < 1<<10 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

func selectJobs(selected func(string) bool) []job {
	var out []job
	for _, j := range jobs {
		if selected(j.name) {
			out = append(out, j)
		}
	}
	return out
}
