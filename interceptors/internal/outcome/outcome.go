// Package outcome says how a call ended, as grpc will say it or has said it.
package outcome

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Code returns the code that grpc sends for what a handler returned: it knows
// context errors, where status.Code says Unknown.
func Code(err error) codes.Code {
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	return status.FromContextError(err).Code()
}

// ServerFault is OpenTelemetry's list: the codes with which a server span is an
// error (semantic conventions for gRPC).
func ServerFault(code codes.Code) bool {
	switch code {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	default:
		return false
	}
}
