package serve

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/server"
)

// comeBack is how long a caller is asked to wait before it tries again.
const comeBack = time.Second

var statuses = map[model.Code]int{
	model.InvalidArgument:   http.StatusBadRequest,
	model.NotFound:          http.StatusNotFound,
	model.TooLarge:          http.StatusRequestEntityTooLarge,
	model.UnsupportedMedia:  http.StatusUnsupportedMediaType,
	model.ResourceExhausted: http.StatusTooManyRequests,
	model.Unavailable:       http.StatusServiceUnavailable,
}

// translate gives a model's errors their status and leaves the others to the server package.
func translate(err error) *server.Error {
	e, ok := errors.AsType[*model.Error](err)
	if !ok {
		return server.Translate(err)
	}
	status, ok := statuses[e.Code]
	if !ok {
		return &server.Error{Status: http.StatusInternalServerError, Message: "internal error", Err: err}
	}
	answer := &server.Error{Status: status, Message: e.Message, Err: e.Err}
	if e.Code == model.ResourceExhausted || e.Code == model.Unavailable {
		answer.RetryAfter = comeBack
	}
	return answer
}

func badRequest(format string, args ...any) error {
	return model.Errorf(model.InvalidArgument, format, args...)
}

func statusError(status int, format string, args ...any) error {
	return &server.Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

func notReady(err error) error {
	if errors.Is(err, errFailed) {
		return &server.Error{Status: http.StatusServiceUnavailable, Message: errFailed.Error(), RetryAfter: 10 * comeBack, Err: err}
	}
	return &server.Error{Status: http.StatusServiceUnavailable, Message: err.Error(), RetryAfter: comeBack}
}

func allow(w http.ResponseWriter, r *http.Request, methods []string) error {
	if methods == nil || slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return statusError(http.StatusMethodNotAllowed, "method %s is not allowed here: expected %s", r.Method, strings.Join(methods, " or "))
}
