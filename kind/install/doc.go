// Package install puts what weir needs on a Kubernetes cluster, whichever it is: Knative Serving with Kourier and the
// HPA class, metrics-server, Knative Eventing with its in-memory broker. Versions are pinned and match each other.
//
// Everything is applied on the server's side under one field manager: running it again repairs and changes nothing
// else, and settings that somebody else made stay.
package install
