package rpcmetrics

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/grpc-micro/micro/interceptors/internal/methods"
	"github.com/grpc-micro/micro/interceptors/internal/outcome"
)

// kind is the label grpc_type.
type kind int

const (
	unary kind = iota
	clientStream
	serverStream
	bidiStream
	kinds // how many there are
)

func (k kind) String() string {
	return [...]string{"unary", "client_stream", "server_stream", "bidi_stream"}[k]
}

func streamKind(ofClient, ofServer bool) kind {
	switch {
	case ofClient && !ofServer:
		return clientStream
	case ofServer && !ofClient:
		return serverStream
	default:
		return bidiStream
	}
}

// method counts the calls of one method. Everything is looked up when it is
// made, so that a call only adds.
type method struct {
	labels   []string
	unary    bool
	started  atomic.Int64
	handled  [codes.Unauthenticated + 1]atomic.Int64 // by code
	received atomic.Int64                            // messages of streams
	sent     atomic.Int64
	complete atomic.Bool // show all codes, and not only those that were
	seconds  prometheus.Observer
	exemplar func(context.Context) prometheus.Labels
}

func (m *metrics) newMethod(k kind, fullMethod string) *method {
	service, name := methods.Split(fullMethod)
	labels := []string{k.String(), service, name}
	return &method{labels: labels, unary: k == unary, seconds: m.seconds.WithLabelValues(labels...), exemplar: m.exemplar}
}

// begin counts a call that begins, and returns when that was.
func (m *method) begin() time.Time {
	m.started.Add(1)
	return time.Now()
}

// end counts its end.
func (m *method) end(ctx context.Context, began time.Time, err error) {
	seconds := time.Since(began).Seconds()
	m.handled[codeOf(err)].Add(1)
	if m.exemplar != nil {
		if labels := m.exemplar(ctx); labels != nil {
			m.seconds.(prometheus.ExemplarObserver).ObserveWithExemplar(seconds, labels)
			return
		}
	}
	m.seconds.Observe(seconds)
}

// codeOf returns one of grpc's codes: others are not for a label, which must not
// have any number of values.
func codeOf(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	if code := outcome.Code(err); code <= codes.Unauthenticated {
		return code
	}
	return codes.Unknown
}
