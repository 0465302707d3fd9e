// Package resolver is the registry: where instances of services announce
// themselves, and where grpc clients find them.
package resolver
