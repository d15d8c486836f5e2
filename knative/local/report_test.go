package local

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestReportsThatAreNone asks programs that know nothing of reports.
func TestReportsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"text":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) },
		"other":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"status":"ok"}`)) },
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"without end": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"ready":true,"x":"` + strings.Repeat("x", 2*reportSize)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(h)
			defer srv.Close()
			if said, err := askReport("/", srv.Listener.Addr().String()); err == nil || !said.Began.IsZero() {
				t.Errorf("%+v, %v", said, err)
			}
		})
	}
	if (&member{}).timing(time.Now()) != "" {
		t.Error("phases of a replica that told none")
	}
}
