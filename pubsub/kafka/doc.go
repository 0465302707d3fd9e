// Package kafka is the broker on Apache Kafka.
package kafka
