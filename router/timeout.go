package router

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
)

// HeaderTimeout bounds a request: a Go duration (500ms) or seconds (1.5).
const HeaderTimeout = "X-Weir-Timeout"

// timeout returns how long a request may take. A call's client says it in gRPC's own way, too; the shorter one counts.
func (l Limits) timeout(h http.Header, call bool) (time.Duration, error) {
	d, err := l.headerTimeout(h)
	if err != nil || !call {
		return d, err
	}
	client, ok, err := rpc.Timeout(h)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return d, nil
	case h.Get(HeaderTimeout) == "":
		return min(client, l.MaxTimeout), nil
	}
	return min(client, d), nil
}

func (l Limits) headerTimeout(h http.Header) (time.Duration, error) {
	text := h.Get(HeaderTimeout)
	if text == "" {
		return l.Timeout, nil
	}
	wrong := func(expected string) (time.Duration, error) {
		return 0, &server.Error{Status: http.StatusBadRequest, Message: "header " + HeaderTimeout + " is " + strconv.Quote(clip(text)) + ", expected " + expected}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) {
			return wrong("a duration such as 500ms or seconds such as 1.5")
		}
		d = time.Duration(min(seconds, l.MaxTimeout.Seconds()) * float64(time.Second))
	}
	if d <= 0 {
		return wrong("more than zero")
	}
	return min(d, l.MaxTimeout), nil
}
