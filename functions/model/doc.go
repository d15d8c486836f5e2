// Package model holds the types that every protocol and every runtime of weir speaks: tensors, signatures and the
// Model interface. It knows no protocol, no HTTP and no runtime, so a server needs no TensorFlow to be tested and a
// runtime needs no server.
package model
