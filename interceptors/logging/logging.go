package logging

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"google.golang.org/grpc/codes"

	"github.com/grpc-micro/micro/interceptors/internal/outcome"
)

// log is not on go-grpc-middleware's logging, which builds its fields before
// it knows whether they are wanted: a call that is not logged costs 3.2 µs and
// 39 allocations there, 50 ns and none here. Its bare reporter costs one
// allocation a call and two readings of the clock a message.
type log struct {
	logger    *slog.Logger
	component string
	levels    func(codes.Code) slog.Level
	successes func(fullMethod string) bool // nil: none
	peer      bool
}

func newLog(component string, logger *slog.Logger, levels func(codes.Code) slog.Level, opts []Option) *log {
	if logger == nil {
		logger = slog.Default()
	}
	l := &log{logger: logger, component: component, levels: levels}
	for _, opt := range opts {
		if opt != nil {
			opt(l)
		}
	}
	return l
}

// wants is all that most calls cost.
func (l *log) wants(fullMethod string, err error) bool {
	return err != nil || l.successes != nil && l.successes(fullMethod)
}

// finished writes the line of a call that is wanted. Either of addr and target
// may be missing.
func (l *log) finished(ctx context.Context, fullMethod string, start time.Time, addr net.Addr, target string, err error) {
	code := outcome.Code(err)
	level := l.levels(code)
	if !l.logger.Enabled(ctx, level) {
		return
	}
	call := interceptors.NewServerCallMeta(fullMethod, nil, nil)
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("grpc.component", l.component),
		slog.String("grpc.service", call.Service),
		slog.String("grpc.method", call.Method),
		slog.String("grpc.code", code.String()),
		slog.Duration("duration", time.Since(start)))
	if addr != nil {
		attrs = append(attrs, slog.String("peer", addr.String()))
	}
	if target != "" {
		attrs = append(attrs, slog.String("target", target))
	}
	if err == nil {
		l.logger.LogAttrs(ctx, level, "grpc: call done", attrs...)
		return
	}
	l.logger.LogAttrs(ctx, level, "grpc: call failed", append(attrs, slog.Any("error", err))...)
}
