package router

import (
	"net/http"
	"strconv"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/router/route"
)

// Headers that say where a request goes.
const (
	HeaderTag        = "X-Weir-Tag"
	HeaderKnativeTag = "Knative-Serving-Tag"
	HeaderSession    = "X-Weir-Session"
)

// headerHints fills in the tag and the session that neither path nor event named.
func headerHints(h http.Header, hints *route.Hints) error {
	tag, err := oneValue(h, HeaderTag, HeaderKnativeTag)
	if err != nil {
		return err
	}
	session, err := oneValue(h, HeaderSession)
	if err != nil {
		return err
	}
	if hints.Tag == "" {
		hints.Tag = clip(tag)
	}
	if hints.Session == "" {
		hints.Session = session
	}
	return nil
}

// oneValue returns what all these headers say, and an error if they contradict each other.
func oneValue(h http.Header, names ...string) (string, error) {
	value := ""
	for _, name := range names {
		for _, v := range h[name] {
			if v != "" && value != "" && v != value {
				return "", &server.Error{Status: http.StatusBadRequest,
					Message: "header " + name + " is " + strconv.Quote(clip(v)) + " and contradicts " + strconv.Quote(clip(value)) + ": send one"}
			}
			if v != "" {
				value = v
			}
		}
	}
	return value, nil
}
