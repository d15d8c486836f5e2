// Package report is what a replica says of itself, as JSON at /readyz for who accepts that.
package report

import "time"

// Replica is a report. A program that is no function of weir gives none.
type Replica struct {
	Ready bool `json:"ready"`
	// WholeCalls says that the program takes a short unary gRPC call in one piece, as package rpc has it.
	WholeCalls bool `json:"whole_calls,omitempty"`
	// Began is when the program's own code began to run: after the libraries were loaded.
	Began time.Time `json:"began"`
	// Load and Warm are the seconds that it then took to load the model and to warm it up.
	Load float64 `json:"load"`
	Warm float64 `json:"warm"`
	// Batching says, by signature, whether requests are put together. Empty while that is measured.
	Batching []Batching `json:"batching,omitempty"`
}

// Batching says whether the requests of a signature are put together, and why.
type Batching struct {
	Signature string `json:"signature"`
	On        bool   `json:"on"`
	// Size is how many rows a run has at most, 0 if it is off.
	Size int `json:"size,omitempty"`
	// Alone and Together are the seconds that a row took in a run of its own and in one of many, 0 if not measured.
	Alone    float64 `json:"alone,omitempty"`
	Together float64 `json:"together,omitempty"`
	Reason   string  `json:"reason"`
}
