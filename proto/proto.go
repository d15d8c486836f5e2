// Package proto holds the wire formats of other people's gRPC APIs: a .proto file of weir's own in each folder, with the
// packages, names and numbers of the original, and the Go code generated from it.
package proto

//go:generate go run ./gen
