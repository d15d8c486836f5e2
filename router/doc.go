// Package router sends HTTP requests and CloudEvents to the revisions of models.
//
// Where a request goes is said, in this order, by its host (imagenet.default.localhost, lite2-imagenet.default.localhost:
// everything under such a host goes to that model unread), its path (/v1/models/M[/versions/V|/labels/L],
// /v2/models/M[/versions/V]), or, for an event to / or /events, its attributes model, modelversion, modeltag and session,
// or its type. The headers X-Weir-Tag or Knative-Serving-Tag and X-Weir-Session fill in what these leave open. So the
// more exact word wins: a version over a tag, a tag in a host, path or event over one in a header. Two headers that
// contradict each other are a 400, since neither is more exact.
//
// The router decides nothing about replicas: a Backend does. It knows no tensors and reads no body but that of a
// structured event.
package router
