package knative

import (
	"context"
	"time"

	"weir.dev/weir/knative/local/autoscale"
)

// Observer is what an engine can be besides an Engine: one that tells what it decides and what its replicas use.
type Observer interface {
	// Observe returns what runs now, and the decisions after a time.
	Observe(ctx context.Context, since time.Time) (Observation, error)
}

// EngineReplica is the name of the engine's own process among the replicas.
const EngineReplica = "weir"

// Observation is a look at an engine.
type Observation struct {
	Time     time.Time       `json:"time"`
	Services []ServiceStatus `json:"services"`
	// Replicas are the processes or pods that run, the engine's own process among them.
	Replicas []ReplicaUsage `json:"replicas"`
	// Decisions are the autoscaler's, by revision, oldest first.
	Decisions map[string][]Decision `json:"decisions,omitempty"`
	// Unknown are the figures that this engine does not tell now, Notes what a reader has to know of the others.
	Unknown []Figure `json:"unknown,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// Figure names a figure of a revision that an engine may not tell.
type Figure string

// The figures that may be unknown.
const (
	FigureConcurrency Figure = "concurrency"
	FigureQueue       Figure = "queue"
	FigureRPS         Figure = "rps"
	FigureCPU         Figure = "cpu"
	FigureMemory      Figure = "memory"
)

// ReplicaUsage is what one replica has used.
type ReplicaUsage struct {
	Name     string `json:"name"`
	Service  string `json:"service"`
	Revision string `json:"revision"`
	Ready    bool   `json:"ready"`
	// CPU is the processor time in seconds since it was started, Memory its resident bytes.
	CPU    float64 `json:"cpu"`
	Memory uint64  `json:"memory"`
	// Processors is how many it used lately, from an engine that tells a mean in place of CPU.
	Processors *float64 `json:"processors,omitempty"`
}

// Decision is what the autoscaler decided, with the numbers it came from.
type Decision = autoscale.Decision
