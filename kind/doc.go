// Package kind makes clusters that have what weir needs, on whatever a user has: kind, minikube, GKE, or one Linux
// machine without Docker (package node). What comes on top is the same everywhere (package install).
package kind
