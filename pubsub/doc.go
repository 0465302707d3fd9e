// Package pubsub publishes and handles typed events.
package pubsub
