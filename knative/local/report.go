package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/internal/report"
)

const (
	// A report is asked for before a replica's first request: it must not hold that up.
	reportTimeout = 250 * time.Millisecond
	reportSize    = 64 << 10
	// What a replica measures after it is ready is asked for again, first after reportAgain, then twice that, and so on.
	reportAgain = 250 * time.Millisecond
	reportUntil = 30 * time.Second
)

// reportPath is where a replica says what it says of itself: its readiness probe's path; "" if it has none.
func reportPath(rev *servingv1.Revision) string {
	p := rev.Spec.Containers[0].ReadinessProbe
	if p == nil || p.HTTPGet == nil {
		return ""
	}
	return "/" + strings.TrimPrefix(p.HTTPGet.Path, "/")
}

// askReport asks a replica what it says of itself. A program that is no function of weir says nothing.
func askReport(path, addr string) (report.Replica, error) {
	var said report.Replica
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		return said, err
	}
	req.Header.Set("Accept", "application/json")
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return said, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, reportSize)).Decode(&said); err != nil {
		return report.Replica{}, err
	}
	if !said.Ready {
		return report.Replica{}, fmt.Errorf("%s%s is no report", addr, path)
	}
	return said, nil
}

// followReport asks a replica until it has said what it decided about batches.
func (r *revision) followReport(m *member, path string) {
	for wait := reportAgain; wait < reportUntil; wait *= 2 {
		said, err := askReport(path, m.Addr())
		if len(said.Batching) > 0 {
			r.mu.Lock()
			r.view.batching = said.Batching
			r.mu.Unlock()
			return
		}
		if err != nil {
			return
		}
		select {
		case <-time.After(wait):
		case <-m.Exited():
			return
		}
	}
}

// timing says what the phases of a replica's start took, as values of Server-Timing; "" if the replica did not tell.
func (m *member) timing(now time.Time) string {
	if m.said.Began.IsZero() {
		return ""
	}
	ready := m.said.Began.Add(time.Duration((m.said.Load + m.said.Warm) * float64(time.Second)))
	var b strings.Builder
	for _, phase := range []struct {
		name string
		took time.Duration
	}{
		{"process", m.Forked()},
		{"library", m.said.Began.Sub(m.Started()) - m.Forked()},
		{"load", time.Duration(m.said.Load * float64(time.Second))},
		{"warm", time.Duration(m.said.Warm * float64(time.Second))},
		{"notice", now.Sub(ready)},
	} {
		fmt.Fprintf(&b, ", %s;dur=%.1f", phase.name, max(0, phase.took.Seconds()*1000))
	}
	return strings.TrimPrefix(b.String(), ", ")
}
