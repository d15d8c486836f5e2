package router

import (
	"errors"
	"net/http"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
	"weir.dev/weir/router/fetch"
	"weir.dev/weir/router/route"
)

// translate turns an error of the router, the table, the backend or a fetch into its answer.
func translate(err error) *server.Error {
	later := func(message string) *server.Error {
		return &server.Error{Status: http.StatusServiceUnavailable, Message: message, RetryAfter: knative.RetryAfter, Err: err}
	}
	if e, ok := errors.AsType[*knative.NotReadyError](err); ok {
		return later("the model does not answer: " + e.Reason)
	}
	switch {
	case errors.Is(err, route.ErrNotYet):
		return later(err.Error() + ": try again later")
	case errors.Is(err, route.ErrNoModel), errors.Is(err, route.ErrNoRevision):
		return &server.Error{Status: http.StatusNotFound, Message: err.Error()}
	case errors.Is(err, knative.ErrOverloaded):
		return later("the model's queue is full: try again later")
	case errors.Is(err, knative.ErrNotReady):
		return later("the model has no replica that answers: try again later")
	case errors.Is(err, knative.ErrLost):
		return later("the model's replica was lost before it answered: try again")
	case errors.Is(err, knative.ErrNoRevision):
		// The table is about to follow.
		return later("the model's revision was just replaced: try again")
	}
	if e, ok := errors.AsType[*fetch.Error](err); ok {
		return &server.Error{Status: fetchStatus(e), Message: e.Message, Err: e.Err}
	}
	return server.Translate(err)
}

func fetchStatus(e *fetch.Error) int {
	for _, k := range []struct {
		kind   error
		status int
	}{
		{fetch.ErrURL, http.StatusBadRequest},
		{fetch.ErrForbidden, http.StatusForbidden},
		{fetch.ErrTooLarge, http.StatusRequestEntityTooLarge},
		{fetch.ErrNotImage, http.StatusUnsupportedMediaType},
		{fetch.ErrTimeout, http.StatusGatewayTimeout},
		{fetch.ErrCanceled, server.StatusClientGone},
	} {
		if errors.Is(e.Kind, k.kind) {
			return k.status
		}
	}
	return http.StatusBadGateway
}

// notAllowed is the answer to a method that a path does not take.
func notAllowed(w http.ResponseWriter, r *http.Request, methods []string) error {
	list := ""
	for i, m := range methods {
		if i > 0 {
			list += ", "
		}
		list += m
	}
	w.Header().Set("Allow", list)
	return &server.Error{Status: http.StatusMethodNotAllowed, Message: clip(r.URL.Path) + " takes " + list + ", not " + clip(r.Method)}
}
