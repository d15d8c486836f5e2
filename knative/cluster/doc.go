// Package cluster is the engine that a Kubernetes cluster with Knative Serving is: its API server does what is asked of
// it here, with Knative's own client types. The router's way to it is package dispatch.
package cluster
