// Package mdns is the registry that needs no server: services announce
// themselves on the local network by multicast DNS, and hear each other.
//
//	import _ "github.com/grpc-micro/micro/resolver/mdns"
//	…
//	reg, err := resolver.Open("mdns://")
//
// From there on it is package resolver: an Announcer keeps a server in reg, and
// grpc.WithResolvers(resolver.NewBuilder(reg)) makes a grpc client find it, on
// this machine and on all others of the LAN.
//
// The host of the URL names the network interfaces to use; without one it is all
// that are up and have multicast and an IPv4 address, but loopback and tunnels:
//
//	mdns://                 the LAN
//	mdns://eth0             one interface; several with commas in between
//	mdns://lo               this machine only, which works without any network
//
// and its parameters are
//
//	domain=local            the DNS domain; another one keeps apart who shares a LAN
//	ttl=30s                 how long a process that has died is still found
//	query=10s               how often to ask for what is watched
//
// [New] takes the same as options.
//
// # What is on the wire
//
// Instances are DNS-SD services of the type _grpc-micro._tcp, each with a subtype
// for its service, so that any browser shows them:
//
//	avahi-browse -r _grpc-micro._tcp
//	dns-sd -B _grpc-micro._tcp
//
// The TXT record has all that a [resolver.Instance] has, as JSON in numbered
// pieces: txtvers=1, 0={"service":…, 1=…. SRV and address records are there for
// other programs. An instance whose records take more than the 8972 bytes that
// multicast DNS allows is refused by Register, with the number.
//
// Every change is announced at once, and again after 250 ms and a second; watches
// follow these announcements. Whoever watches a service asks for it, too, in
// intervals, unless another process has just done so; and what was not heard of
// for its time to live has gone. What is announced and cannot be read is skipped,
// logged once and counted; it never hides the others.
//
// Names on the wire have a random token of their process. A goodbye names it, and
// so never takes away what another process has announced under the same ID since:
// this is what fences it. Of several that claim an ID, the one that registered
// last is the instance, by a clock that is set beyond what was heard of others;
// when it goes, one that is still there is the instance again.
//
// # Limits
//
// Nobody is asked who he is: whoever is on the LAN can announce an instance, and
// say goodbye for another. Use it where you trust the LAN, or where clients know
// their servers by TLS, whose names do not come from the registry; use etcd
// elsewhere.
//
// It is one LAN: multicast ends at the router, and in many clouds and overlay
// networks there is none. It is sent by IPv4 alone; the instances' addresses may
// be of any kind. Wireless LANs lose multicast packets, so a change may take a
// second, and, if all three are lost, the query interval or the time to live.
//
// It is for dozens of processes and hundreds of instances, not for thousands: an
// answer to one who asks for a service comes from every instance of it.
//
// Nobody confirms anything: Register returns when the announcement was sent, and
// Lost is closed by Close alone. Two processes that register one ID at the same
// moment both succeed, and all agree on which is the instance, though not on
// which was the first. Only a process itself changes its instances: a Registry
// here is no resolver.Editor.
//
// Without a network calls fail, and watches end with the reason, so that clients
// go on with the instances last known; all is announced and asked anew when it
// is back.
package mdns
