// Package soon receives in tests what another goroutine has to send soon, and says what did not come. It is for tests only.
package soon

import (
	"testing"
	"time"
)

// Limit bounds a wait: more than a busy machine needs, and less than go test's own limit, which ends all tests and says of none
// what it waited for.
const Limit = time.Minute

// Next returns what c gives next, or the zero value when c is closed. If nothing comes, it ends the test and says what.
func Next[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	limit := time.NewTimer(Limit)
	defer limit.Stop()
	select {
	case v := <-c:
		return v
	case <-limit.C:
		t.Fatalf("waited %v in vain for %s", Limit, what)
		panic("unreachable")
	}
}
