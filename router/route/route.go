// Package route decides which revision of which model a request goes to. It is pure: a Table is built from what an
// engine serves, Pick answers from it; no I/O, no HTTP, no clock.
package route

// Revision is one way to reach a model.
type Revision struct {
	// Name is the Knative Revision's name: imagenet-00001.
	Name string
	// Tags are the traffic tags that name it: lite0.
	Tags []string
	// Version is the model version it serves; 0 if unknown.
	Version int64
	// Percent is its share of the untagged traffic, 0 to 100.
	Percent int
	// Ready says that it can answer, perhaps after a cold start. What is not ready is not picked by percentage.
	Ready bool
	// Images says that the revision takes raw image bodies; for the front end's list.
	Images bool
}

// Model is one Knative Service.
type Model struct {
	Name string
	// Hosts are the host names, without port, that mean this model: imagenet.default.localhost. A host that names a tag
	// is TAG-HOST, as Knative writes it: lite2-imagenet.default.localhost.
	Hosts     []string
	Revisions []Revision
	// EventTypes are CloudEvents types, besides dev.weir.predict with the attribute model, that mean this model.
	EventTypes []string
	// HostOnly says that only its hosts mean it and that it is not listed: a Service that is no model.
	HostOnly bool
}

// Hints are what a request says about where it wants to go. Zero fields say nothing.
type Hints struct {
	Model     string // from the path or the CloudEvents attribute model
	Host      string // without port
	EventType string
	Revision  string // a revision's name
	Version   int64  // an explicit version; wins over Tag
	Tag       string // a tag: a version label of TensorFlow Serving, X-Weir-Tag, Knative-Serving-Tag, modeltag
	Session   string // keeps a caller on one revision while the percentages stay as they are
}

// Target is where a request goes.
type Target struct {
	Model    string
	Revision string
	Version  int64
	Tag      string // one of the revision's tags; the one asked for, if any
	// Why says which rule chose: version, tag, revision, session or traffic. For the access line.
	Why string
}
