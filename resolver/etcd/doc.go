// Package etcd is the registry on etcd v3.
//
//	import _ "github.com/grpc-micro/micro/resolver/etcd"
//	…
//	reg, err := resolver.Open("etcd://10.0.0.1:2379,10.0.0.2:2379/micro/services")
//
// or, with a client of one's own, for whatever a URL cannot say (several IPv6
// addresses, a certificate that is no file),
//
//	reg, err := etcd.New(client, etcd.WithTTL(20*time.Second))
//
// The parameters of a URL are
//
//	ttl=15s           how long a process that has died is still found
//	timeout=5s        how long a call without a deadline waits for etcd
//	tls=true          with ca=, cert=, key= (files in PEM) and server-name=
//	user:password@    before the hosts: logs in
//
// From there on it is package resolver: an Announcer keeps a server in reg, and
// grpc.WithResolvers(resolver.NewBuilder(reg)) makes a grpc client find it.
//
// # What is in etcd
//
// An instance is one key, <prefix>/<service>/<id>, on the lease of its process.
// The value is JSON that etcd's own gRPC naming client reads too, so a plain
// grpc-go client with go.etcd.io/etcd/client/v3/naming/resolver finds the
// services at <prefix>/<service>; and what its endpoints manager writes there
// is an instance here:
//
//	{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"version":"v2","zone":"a"}}
//
// A value that cannot be read is skipped and logged; it never hides the others.
//
// A registration's keys hang on one lease. Deregister revokes it, which is what
// fences it: keys that another process has put since live on. Update is a
// transaction on the lease of each key. All leases of a Registry share one
// stream of renewals.
//
// A service config (resolver.SetServiceConfig) is the value of the key
// <prefix>.config/<service>, without a lease.
//
// # Scale
//
// Measured with the benchmarks of this package, on two busy cores; sizes and
// counts carry over to other machines, times do not.
//
//   - A service with 10,000 instances: one change reads 160 bytes from etcd,
//     decodes one value, and costs a client less than 1 ms of CPU; most of the
//     430 KB that are allocated are the list that grpc is given. From Register
//     until a watch has it takes 1.1 to 1.4 times a bare grant and put.
//   - A process that watches 1,000 services: 8 KiB and 2 goroutines each, and as
//     much for the service config where package resolver follows it; one small
//     request a service each 45 s to see that the store is the same, about 1 % of
//     a core.
//   - A process that keeps 5,000 instances registered, each on a lease of its own:
//     6 KiB and 4 goroutines each, about 1,000 renewals a second on one stream with
//     the TTL of 15 s, 3 % of a core.
package etcd
