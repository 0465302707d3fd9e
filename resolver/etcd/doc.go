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
package etcd
