// Package cluster holds the tests that need a Kubernetes node of their own: `make test-cluster` runs them as root on
// Linux. They have the build tag cluster.
package cluster
