// Package batch puts requests together in front of a model.Model. It waits for nothing: a request runs at once while
// the model has a place, and those that arrive while it is busy run together when a place is free again. It knows no
// protocol and no runtime.
package batch
