package later

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"weir.dev/weir/internal/cloudevent"
)

// maxErrorData is how much of a sink's answer the dead letter is told, in bytes (as Knative).
const maxErrorData = 1024

// send posts a record's event, in binary mode, once. An error that another try cannot mend is permanent.
func (q *Queue) send(ctx context.Context, to string, r record) error {
	if to == r.Sink && r.Failed == nil && !q.Allowed(to) {
		return backoff.Permanent(&DeliveryError{Dest: to, Data: []byte("this sink is not allowed any more")})
	}
	e, err := q.outgoing(ctx, r)
	if err != nil {
		return backoff.Permanent(&DeliveryError{Dest: to, Data: []byte(err.Error())})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, http.NoBody)
	if err != nil {
		return backoff.Permanent(&DeliveryError{Dest: to, Data: []byte(err.Error())})
	}
	if err := cehttp.WriteRequest(binding.WithForceBinary(ctx), binding.ToMessage(e), req); err != nil {
		return backoff.Permanent(&DeliveryError{Dest: to, Data: []byte(err.Error())})
	}
	cloudevent.EncodeHeader(req.Header)
	res, err := q.client.Do(req)
	if err != nil {
		return &DeliveryError{Dest: to, Data: []byte(err.Error())}
	}
	defer func() { _ = res.Body.Close() }()
	data, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorData))
	return q.judge(&DeliveryError{Dest: to, Code: res.StatusCode, Data: data}, res.Header)
}

// judge says what a sink's status means: which ones are tried again is Knative's choice (kncloudevents.SelectiveRetry).
func (q *Queue) judge(f *DeliveryError, h http.Header) error {
	switch code := f.Code; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusNotFound, code == http.StatusRequestTimeout, code == http.StatusConflict, code == http.StatusTooManyRequests, code >= 500:
	default:
		return backoff.Permanent(f)
	}
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return &retryAfterError{f, &backoff.RetryAfterError{Duration: min(time.Duration(seconds)*time.Second, q.options.MaxBackOff)}}
	}
	return f
}

// retryAfterError is a failure with the wait that the other side asked for.
type retryAfterError struct {
	failure *DeliveryError
	after   *backoff.RetryAfterError
}

func (r *retryAfterError) Error() string { return r.failure.Error() }

func (r *retryAfterError) Unwrap() []error { return []error{r.failure, r.after} }

// outgoing is the event to send: the record's with the operator's extensions and, for a dead letter, the reason.
func (q *Queue) outgoing(ctx context.Context, r record) (*event.Event, error) {
	e, err := binding.ToEvent(ctx, cehttp.NewMessage(cloudevent.DecodeHeader(r.Header), io.NopCloser(bytes.NewReader(r.body))))
	if err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	for name, value := range q.options.Extensions {
		e.SetExtension(name, value)
	}
	if f := r.Failed; f != nil {
		e.SetExtension("knativeerrordest", f.Dest)
		if f.Code != 0 {
			e.SetExtension("knativeerrorcode", strconv.Itoa(f.Code))
		}
		e.SetExtension("knativeerrordata", base64.StdEncoding.EncodeToString(f.Data))
	}
	return e, nil
}

// allowed reports whether sink is the one, or one of prefixes or below it: at the same scheme, host and port.
func allowed(sink, one string, prefixes []string) bool {
	if sink == one {
		return sink != ""
	}
	u, err := url.Parse(sink)
	if err != nil || u.User != nil || u.Opaque != "" {
		return false
	}
	for _, prefix := range prefixes {
		p, err := url.Parse(prefix)
		if err != nil || u.Scheme != p.Scheme || !strings.EqualFold(u.Host, p.Host) {
			continue
		}
		// Dots are resolved by who gets the request, so that they are resolved here, too.
		below, base := path.Clean("/"+u.Path), strings.TrimSuffix(path.Clean("/"+p.Path), "/")
		if below == base || strings.HasPrefix(below, base+"/") {
			return true
		}
	}
	return false
}

// validName reports whether an extension may have this name.
func validName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
