package dev

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger returns a logger for etcd that writes to l. Where etcd would end
// the process it panics instead.
func zapLogger(l *slog.Logger) *zap.Logger {
	return zap.New(zapCore{l.With("server", "etcd")}, zap.WithFatalHook(zapcore.WriteThenPanic))
}

type zapCore struct{ l *slog.Logger }

func (c zapCore) Enabled(level zapcore.Level) bool {
	return c.l.Enabled(context.Background(), slogLevel(level))
}

func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.l.With(attrs(fields)...)}
}

func (c zapCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.l.Log(context.Background(), slogLevel(e.Level), e.Message, attrs(fields)...) //nolint:sloglint // the message is etcd's
	return nil
}

func (zapCore) Sync() error { return nil }

func slogLevel(level zapcore.Level) slog.Level {
	switch level {
	case zapcore.DebugLevel:
		return slog.LevelDebug
	case zapcore.InfoLevel:
		return slog.LevelInfo
	case zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

func attrs(fields []zapcore.Field) []any {
	out := make([]any, 0, len(fields))
	for _, f := range fields {
		enc := zapcore.NewMapObjectEncoder()
		f.AddTo(enc)
		for k, v := range enc.Fields {
			out = append(out, slog.Any(k, v))
		}
	}
	return out
}

// kafkaLogger is a logger for kfake that writes to l.
type kafkaLogger struct{ l *slog.Logger }

func (k kafkaLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	case kfake.LogLevelInfo:
		to = slog.LevelInfo
	case kfake.LogLevelDebug, kfake.LogLevelNone:
	}
	if k.l.Enabled(context.Background(), to) {
		k.l.Log(context.Background(), to, fmt.Sprintf(format, args...)) //nolint:sloglint // the message is kfake's
	}
}
