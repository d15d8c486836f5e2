package knative

import (
	"context"
	"io"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/internal/report"
)

// Labels and annotations of weir. They stand on a revision template, the model label on the Service as well.
const (
	// LabelModel marks a Knative Service as a model; its value is the model's name.
	LabelModel = "weir.dev/model"
	// LabelFetch on a template says that its model is fetched by address: on a cluster, network policies let its pods out
	// for that.
	LabelFetch = "weir.dev/fetch"
	// AnnotationVersion is the number of the model version that the revision serves.
	AnnotationVersion = "weir.dev/model-version"
	// AnnotationEventTypes lists CloudEvents types, comma-separated, that the router sends to this model.
	AnnotationEventTypes = "weir.dev/event-types"
	// AnnotationImages says "true" if the revision takes raw image bodies.
	AnnotationImages = "weir.dev/images"
	// AnnotationLocalCommand says what a replica is on one machine: a program and its arguments, or CommandRouter.
	// Relative paths in the program and in arguments that start with ./ or ../ are relative to AnnotationLocalDir.
	AnnotationLocalCommand = "local.weir.dev/command"
	// AnnotationLocalDir is the folder that relative paths in AnnotationLocalCommand mean. It is set on reading a
	// manifest, to the manifest's folder.
	AnnotationLocalDir = "local.weir.dev/dir"
	// CommandRouter is the AnnotationLocalCommand of the router: it runs inside weir's own process.
	CommandRouter = "builtin:router"
)

// Engine runs the replicas of Knative Services: this machine or a cluster. The methods mean the same on both.
type Engine interface {
	// Apply creates or updates a Service and returns when it is accepted, not when it is ready.
	Apply(ctx context.Context, svc *servingv1.Service) error
	// Services returns the Services as they were applied, sorted by name.
	Services(ctx context.Context) ([]*servingv1.Service, error)
	// Status returns what runs, sorted by name.
	Status(ctx context.Context) ([]ServiceStatus, error)
	// Logs copies a Service's log lines to w, oldest first; with follow it goes on until ctx ends.
	Logs(ctx context.Context, service string, follow bool, w io.Writer) error
	// Delete removes a Service, its revisions and replicas. It drains them first.
	Delete(ctx context.Context, service string) error
}

// ServiceStatus is one Knative Service as it runs.
type ServiceStatus struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	Ready bool   `json:"ready"`
	// Message says why it is not ready, in one sentence, and what to do.
	Message    string           `json:"message,omitempty"`
	Model      bool             `json:"model"` // false for the router
	EventTypes []string         `json:"eventTypes,omitempty"`
	Revisions  []RevisionStatus `json:"revisions"`
}

// RevisionStatus is one revision as it runs.
type RevisionStatus struct {
	Name    string   `json:"name"`
	Tags    []string `json:"tags,omitempty"`
	Percent int      `json:"percent"`
	Version int64    `json:"version,omitempty"`
	Images  bool     `json:"images,omitempty"`
	State   State    `json:"state"`
	Message string   `json:"message,omitempty"`
	// NeverReady says that it has not been ready so far: no traffic is taken from another revision for it.
	NeverReady bool `json:"neverReady,omitempty"`
	// Ready, Starting and Wanted count replicas.
	Ready    int `json:"ready"`
	Starting int `json:"starting"`
	Wanted   int `json:"wanted"`
	// Concurrency is the mean number of requests at the replicas over the last second, Queue the requests that wait
	// for one now, RPS the requests finished per second over the last second.
	Concurrency float64 `json:"concurrency"`
	Queue       int     `json:"queue"`
	RPS         float64 `json:"rps"`
	// Unknown are the figures of these that the engine does not tell: their zeros mean nothing.
	Unknown []Figure `json:"unknown,omitempty"`
	// Batching says, by signature, whether requests run together. Empty until a replica has told.
	Batching []report.Batching `json:"batching,omitempty"`
	// Panic says that the autoscaler is in panic mode.
	Panic   bool      `json:"panic,omitempty"`
	Created time.Time `json:"created"`
}

// State is a revision's condition in one word.
type State string

// The states of a revision.
const (
	StateReady    State = "Ready"    // it has a replica that answers
	StateIdle     State = "Idle"     // scaled to zero, starts on the first request
	StateStarting State = "Starting" // no replica answers yet
	StateFailed   State = "Failed"   // replicas do not get ready; Message says why
)
