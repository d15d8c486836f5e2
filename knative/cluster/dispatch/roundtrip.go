package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"knative.dev/serving/pkg/apis/serving"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/knative"
	"weir.dev/weir/knative/cluster/observe"
)

// Headers that Knative's ingresses set for the activator; the constants are in knative.dev/serving/pkg/activator, which
// is the whole activator.
const (
	headerRevision  = "Knative-Serving-Revision"
	headerNamespace = "Knative-Serving-Namespace"
)

// attempts bounds how many addresses are tried that cannot be connected to: a replica that has ended may still be in the
// endpoints for a moment.
const attempts = 3

// firstWait bounds how long a request waits for a revision that has never been ready.
const firstWait = 5 * time.Second

// maxRefusal bounds what is read of an answer that is Knative's own and not the function's.
const maxRefusal = 1 << 10

// RoundTrip sends a request to the revision that its URL's host names. Its body may still be read after that: calls are
// answered while they are sent.
func (b *Backend) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.roundTrip(r)
	if err != nil && r.Body != nil {
		_ = r.Body.Close()
	}
	return res, err
}

func (b *Backend) roundTrip(r *http.Request) (*http.Response, error) {
	name := r.URL.Host
	b.mu.RLock()
	t := b.targets[name]
	cold := t != nil && t.ready == 0 && !t.warm.Load()
	b.mu.RUnlock()
	if t == nil || cold {
		if err := b.awaitFirst(r.Context(), name); err != nil {
			return nil, err
		}
		b.mu.RLock()
		t = b.targets[name]
		b.mu.RUnlock()
	}
	if t == nil {
		return nil, fmt.Errorf("%w: %q", knative.ErrNoRevision, name)
	}
	t.inFlight.Add(1)
	res, err := b.try(r, name, t)
	if err != nil {
		t.inFlight.Add(-1)
		return nil, err
	}
	if cold {
		t.warm.Store(true)
		res.Header.Set(knative.HeaderColdStart, "true")
	}
	return res, nil
}

// awaitFirst lets a request wait a little for a revision that has never been ready. The activator would let it wait until
// its deadline and then not say why.
func (b *Backend) awaitFirst(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	for {
		changed := b.Changed()
		why, failed := b.neverReady(name)
		if why == "" {
			return nil
		}
		if failed || ctx.Err() != nil {
			return &knative.NotReadyError{Reason: why}
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// neverReady says why a revision has never been ready, and whether it has failed; nothing of one that has been, or that is gone.
func (b *Backend) neverReady(name string) (why string, failed bool) {
	rev, err := b.revisions.Revisions(b.namespace).Get(name)
	if err != nil {
		return "", false // there is none
	}
	svc, err := b.services.Services(b.namespace).Get(rev.Labels[serving.ServiceLabelKey])
	if err != nil {
		return "", false // it is being deleted
	}
	return observe.FirstStart(rev, svc)
}

// try sends the request to one place after the other until one takes it.
func (b *Backend) try(r *http.Request, name string, t *target) (*http.Response, error) {
	var tried *place
	var failed error
	for range attempts {
		b.mu.RLock()
		p := choose(t.places, tried)
		b.mu.RUnlock()
		if p == nil {
			break
		}
		res, err := b.send(r, name, p)
		if err == nil {
			return b.answered(r, res, t, p)
		}
		if r.Context().Err() != nil {
			return nil, errors.Join(r.Context().Err(), err)
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			return nil, fmt.Errorf("%w: %w", knative.ErrLost, err)
		}
		tried, failed = p, err
	}
	if failed == nil {
		return nil, fmt.Errorf("%w: revision %s has no address", knative.ErrNotReady, name)
	}
	return nil, fmt.Errorf("%w: %w", knative.ErrNotReady, failed)
}

// send makes one attempt.
func (b *Backend) send(r *http.Request, name string, p *place) (*http.Response, error) {
	// A shallow copy, since the trailer must stay the one that the server fills in.
	out := r.WithContext(r.Context())
	u := *r.URL
	u.Scheme, u.Host = "http", p.address
	out.URL = &u
	out.Header = r.Header.Clone()
	out.Header.Set(headerRevision, name)
	out.Header.Set(headerNamespace, b.namespace)
	if r.Body != nil && r.Body != http.NoBody {
		out.Body = &attemptBody{ReadCloser: r.Body}
	}
	next := http.RoundTripper(b.plain)
	if p.h2c || rpc.IsCall(r) {
		// Activators and queue-proxies take both on every port and go on with what came.
		next = b.h2c
	}
	p.inFlight.Add(1)
	res, err := next.RoundTrip(out)
	if err != nil {
		p.inFlight.Add(-1)
	}
	return res, err
}

// answered watches an answer to its end, or turns one that is Knative's own into its error.
func (b *Backend) answered(r *http.Request, res *http.Response, t *target, p *place) (*http.Response, error) {
	done := sync.OnceFunc(func() {
		p.inFlight.Add(-1)
		t.inFlight.Add(-1)
		t.meter.add(time.Now())
	})
	if err := refusal(r.Context(), res); err != nil {
		p.inFlight.Add(-1)
		return nil, err
	}
	res.Request = r
	if rw, ok := res.Body.(io.ReadWriteCloser); ok {
		res.Body = &switched{rw, done}
	} else {
		res.Body = &watched{res.Body, done}
	}
	return res, nil
}

// refusal is the error that an answer of the activator or of queue-proxy means: these speak plain text, functions JSON.
func refusal(ctx context.Context, res *http.Response) error {
	if res.StatusCode != http.StatusBadGateway && res.StatusCode != http.StatusServiceUnavailable && res.StatusCode != http.StatusGatewayTimeout ||
		!strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(res.Body, maxRefusal)) // what was read says enough
	_ = res.Body.Close()
	text := string(bytes.TrimSpace(said))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(text, "queue full") || strings.Contains(text, "overload"):
		return fmt.Errorf("%w: %s", knative.ErrOverloaded, text)
	case res.StatusCode == http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %s", context.DeadlineExceeded, text)
	case res.StatusCode == http.StatusBadGateway:
		return fmt.Errorf("%w: %s", knative.ErrLost, text)
	}
	return fmt.Errorf("%w: %s", knative.ErrNotReady, text)
}

// attemptBody is a request's body that stays open, for the next attempt, when one could not connect and has read nothing.
type attemptBody struct {
	io.ReadCloser
	read atomic.Bool
}

func (a *attemptBody) Read(p []byte) (int, error) {
	a.read.Store(true)
	return a.ReadCloser.Read(p)
}

func (a *attemptBody) Close() error {
	if !a.read.Load() {
		return nil
	}
	return a.ReadCloser.Close()
}

// watched is an answer's body that says when it is done with.
type watched struct {
	io.ReadCloser
	done func()
}

func (w *watched) Close() error {
	defer w.done()
	return w.ReadCloser.Close()
}

// switched is the connection of a switched protocol.
type switched struct {
	io.ReadWriteCloser
	done func()
}

func (s *switched) Close() error {
	defer s.done()
	return s.ReadWriteCloser.Close()
}
