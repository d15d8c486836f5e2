// Package knative reads the Knative Services that weir deploys and says what an engine is. The folder holds the
// manifests of the router and the sample models too.
package knative
