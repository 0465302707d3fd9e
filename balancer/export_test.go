package balancer

import "github.com/grpc-micro/micro/resolver"

// Matches asks a filter without a channel.
func Matches(f Filter, version string) bool { return f.match(&resolver.Instance{Version: version}) }
