package logging

import (
	"log/slog"

	"google.golang.org/grpc/codes"

	"github.com/grpc-micro/micro/interceptors/internal/outcome"
)

// Option changes what is logged.
type Option func(*log)

// WithSuccesses logs the calls that succeed, too, at Info unless WithLevels
// says otherwise: those for whose full method, such as
// "/greeter.v1.Greeter/SayHello", of returns true, or all if it is nil. It is
// asked at the end of each such call, from many goroutines at once. The
// default is none.
func WithSuccesses(of func(fullMethod string) bool) Option {
	if of == nil {
		of = func(string) bool { return true }
	}
	return func(l *log) { l.successes = of }
}

// WithLevels chooses a line's level by the call's code; codes.OK comes only
// with WithSuccesses. The default is described at the package.
func WithLevels(levels func(codes.Code) slog.Level) Option {
	return func(l *log) {
		if levels != nil {
			l.levels = levels
		}
	}
}

// WithPeer makes a client log the address of the instance that a unary call
// went to. It costs each call, logged or not, two small allocations, and is
// off by default for that. Servers and streams log it anyhow.
func WithPeer() Option { return func(l *log) { l.peer = true } }

func serverLevel(code codes.Code) slog.Level {
	if outcome.ServerFault(code) {
		return slog.LevelError
	}
	return otherLevel(code)
}

func clientLevel(code codes.Code) slog.Level {
	if outcome.ServerFault(code) {
		return slog.LevelWarn
	}
	return otherLevel(code)
}

func otherLevel(code codes.Code) slog.Level {
	if code == codes.Canceled {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
