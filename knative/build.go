package knative

import (
	"errors"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// DeployOptions say what `weir deploy` is to make of a Service.
type DeployOptions struct {
	// Name is the model's and the Service's name.
	Name string
	// Model is the SavedModel: an absolute folder, file:// or https:// URI.
	Model string
	// Function is the absolute path of the function program that serves any SavedModel.
	Function string
	// Image is the container image for a cluster. If empty, weir/savedmodel.
	Image string
	// Tag names the new revision in the traffic block. If empty, none.
	Tag string
	// Traffic is the new revision's percentage. If nil, 100.
	Traffic *int64
	// MinScale and MaxScale bound the replicas. If nil, what the existing template says.
	MinScale, MaxScale *int
	// Concurrency is containerConcurrency. If nil, what the existing template says, or none.
	Concurrency *int64
	// Target is the soft target of requests in flight a replica. If zero, what the existing template says.
	Target float64
	// Window is the stable window. If zero, what the existing template says.
	Window time.Duration
	// Version is the model version's number. If zero, the existing template's plus one, or 1.
	Version int64
	// Command replaces the local command that Function and Model make. If empty, that one.
	Command string
	// Env is set in the container, on top of the existing template's.
	Env map[string]string
	// Images says that the model takes raw image bodies.
	Images bool
}

// Build returns the Service with a new revision by o; existing may be nil and is not changed.
func Build(existing *servingv1.Service, o DeployOptions) (*servingv1.Service, error) {
	return nil, errors.ErrUnsupported
}
