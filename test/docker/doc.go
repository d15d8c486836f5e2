// Package docker holds the test of the Dockerfile and compose.yaml: `make test-docker` runs it as root on Linux. It has the
// build tag docker. It starts a Docker engine of its own, so it needs none and touches none that runs.
package docker
