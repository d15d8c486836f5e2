package serve

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"
)

// HeaderTimeout bounds a request: a Go duration (500ms) or seconds (1.5). A request that takes longer is answered 504.
const HeaderTimeout = "X-Weir-Timeout"

func withTimeout(r *http.Request) (context.Context, context.CancelFunc, error) {
	text := r.Header.Get(HeaderTimeout)
	if text == "" {
		return r.Context(), func() {}, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		seconds, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || math.IsNaN(seconds) || seconds > math.MaxInt32 {
			return nil, nil, badRequest("header %s is %q, expected a duration such as 500ms or seconds such as 1.5", HeaderTimeout, text)
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d <= 0 {
		return nil, nil, badRequest("header %s is %q, expected more than zero", HeaderTimeout, text)
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}
