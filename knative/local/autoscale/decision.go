package autoscale

import "time"

// Decision is what a Tick decided, with the numbers it came from.
type Decision struct {
	Time time.Time `json:"time"`
	// Wanted is the number of replicas to have now.
	Wanted int `json:"wanted"`
	// Desired is the decider's own answer, before bounds and the rules around zero; -1 if it has no data yet.
	Desired int `json:"desired"`
	// Panic says that the decider is in panic mode.
	Panic bool `json:"panic,omitempty"`
	// Stable and PanicConcurrency are the metric over the stable and the panic window: requests in flight, or requests
	// per second if the revision scales on rps. Target is what one replica is to have of it.
	Stable           float64 `json:"stable"`
	PanicConcurrency float64 `json:"panicConcurrency"`
	Target           float64 `json:"target"`
	// ExcessBurst is the capacity left over the target burst capacity. Below zero Knative puts the activator in the path.
	ExcessBurst int `json:"excessBurst"`
	// Reason says in one sentence why, with the numbers.
	Reason string `json:"reason"`
}
