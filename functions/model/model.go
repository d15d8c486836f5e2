package model

import "context"

// Metadata says what a Model is. It does not change while the Model lives.
type Metadata struct {
	Name string
	// Version is the number of the SavedModel's version folder, 1 if it has none.
	Version int64
	// Labels are names for this version, as in TensorFlow Serving's version_labels.
	Labels []string
	// Platform is the Open Inference Protocol's word for the runtime: tensorflow_savedmodel.
	Platform   string
	Signatures map[string]Signature
	// ImageSignature names the signature that a raw image body means; empty if there is none.
	ImageSignature string
}

// Request is one prediction to make. Its tensors match the signature's inputs: Validate says so.
type Request struct {
	// Signature is a name of Metadata.Signatures; empty means DefaultSignature.
	Signature string
	Inputs    map[string]Tensor
	// Outputs names the outputs wanted; empty means all.
	Outputs []string
}

// Response is the answer to a Request: the outputs that were asked for, by name.
type Response struct {
	Outputs map[string]Tensor
}

// Model answers predictions. It is safe for concurrent use. Errors are *Error or context errors.
type Model interface {
	Metadata() Metadata
	// Predict runs one request. It validates the request itself.
	Predict(ctx context.Context, req Request) (Response, error)
	// Close waits for running predictions and frees the model's memory.
	Close() error
}
