// Package tensorflow serves a TensorFlow SavedModel as a model.Model, through tfgo. It is the only package with cgo. It
// turns tfgo's panics into errors and lets nothing reach TensorFlow that could abort the process.
package tensorflow
