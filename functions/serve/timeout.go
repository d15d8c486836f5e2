package serve

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"weir.dev/weir/internal/rpc"
)

// HeaderTimeout bounds a request: a Go duration (500ms) or seconds (1.5). A request that takes longer is answered 504.
const HeaderTimeout = "X-Weir-Timeout"

func withTimeout(r *http.Request) (context.Context, context.CancelFunc, error) {
	// A gRPC client's own deadline; that of the header, if it is sooner, stands above it.
	d, ok, err := rpc.Timeout(r.Header)
	if err != nil {
		return nil, nil, err
	}
	parent, stop := r.Context(), context.CancelFunc(func() {})
	if ok && rpc.IsCall(r) {
		parent, stop = context.WithTimeout(parent, d)
	}
	text := r.Header.Get(HeaderTimeout)
	if text == "" {
		return parent, stop, nil
	}
	if d, err = parseTimeout(text); err != nil {
		stop()
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(parent, d)
	return ctx, func() { cancel(); stop() }, nil
}

func parseTimeout(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		seconds, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || math.IsNaN(seconds) || seconds > math.MaxInt32 {
			return 0, badRequest("header %s is %q, expected a duration such as 500ms or seconds such as 1.5", HeaderTimeout, text)
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d <= 0 {
		return 0, badRequest("header %s is %q, expected more than zero", HeaderTimeout, text)
	}
	return d, nil
}
