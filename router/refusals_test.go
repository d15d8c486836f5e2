package router

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"weir.dev/weir/knative"
	"weir.dev/weir/router/route"
)

func TestManyRefusalsAreCountedInOneLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := newRefusals(zerolog.New(&log))
		r := withExchange(httptest.NewRequest(http.MethodPost, "/", nil))
		exchangeOf(r.Context()).target = route.Target{Model: "digits", Revision: "digits-00001"}
		refused := translate(fmt.Errorf("revision: %w", knative.ErrOverloaded))
		lines := func(n int) (own int) {
			for range n {
				if !f.unlogged(r, refused) {
					own++
				}
			}
			return own
		}
		if got := lines(loggedRefusals + 15); got != loggedRefusals {
			t.Errorf("%d refusals have a line of their own, want %d", got, loggedRefusals)
		}
		if f.unlogged(r, nil) || f.unlogged(r, translate(knative.ErrNotReady)) {
			t.Error("what is no refusal has no line")
		}
		time.Sleep(refusalWindow)
		synctest.Wait()
		want := `"model":"digits","revision":"digits-00001","refused":25,"unlogged":15`
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
			t.Errorf("log %q, want a line with %s", got, want)
		}
		log.Reset()
		if got := lines(loggedRefusals); got != loggedRefusals {
			t.Errorf("in the next second %d refusals have a line of their own, want %d", got, loggedRefusals)
		}
		time.Sleep(refusalWindow)
		synctest.Wait()
		if log.Len() > 0 {
			t.Errorf("log %q: each refusal has its own line", &log)
		}
	})
}
