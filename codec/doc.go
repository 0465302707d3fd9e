// Package codec turns values into bytes, for RPCs and for events.
//
// A [Codec] is written once. [Register] makes it one of grpc's codecs, so that
// a caller chooses it call by call, by content-subtype; the server needs to
// have it registered too, and answers in kind:
//
//	reply, err := client.SayHello(ctx, req, grpc.CallContentSubtype(codec.JSON.Name()))
//
// Events choose theirs by content type, which travels with each of them; see
// [ForContentType] and package pubsub.
//
// [Proto] and [JSON] are there from the start. For RPCs the name "proto" stays
// with grpc's own codec for the whole process: replacing it would replace it
// for every client and server that is linked in, that of etcd included. A
// faster one is a codec by another name, chosen by those who want it.
package codec
