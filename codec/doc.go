// Package codec encodes values for RPCs and for events.
package codec
