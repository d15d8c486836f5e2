// Package fetch gets an image from a URL that a stranger wrote: only from public addresses, checked when the connection
// is made so that no name can point elsewhere between check and use, and within limits of size, time and redirects.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options of a Fetcher. The zero value works.
type Options struct {
	// Allow opens addresses that are closed: prefixes (10.0.0.0/8) on any port, or exact hosts with a port
	// (127.0.0.1:8080, intranet.example:80). If empty, only public addresses on ports 80 and 443 are open.
	Allow []string
	// MaxBytes bounds an image. If zero, 10 MiB.
	MaxBytes int64
	// Timeout bounds a fetch with its redirects. If zero, 5 s.
	Timeout time.Duration
	// MaxRedirects bounds the redirects followed. If zero, 5; if negative, none.
	MaxRedirects int
	// Resolver looks names up. If nil, net.DefaultResolver.
	Resolver *net.Resolver
}

// Kinds of Error, for errors.Is.
var (
	ErrURL       = errors.New("not a URL that can be fetched")
	ErrForbidden = errors.New("address is not open")
	ErrTooLarge  = errors.New("image is too large")
	ErrNotImage  = errors.New("not an image")
	ErrUpstream  = errors.New("site did not answer")
	ErrTimeout   = errors.New("site was too slow")
	ErrCanceled  = errors.New("fetch was cancelled")
)

// Error says why there is no image.
type Error struct {
	// Kind is one of this package's errors.
	Kind error
	// Message is for whoever gave the URL. It names no address that only this machine could know.
	Message string
	// Err is the cause, for the log only.
	Err error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// Fetcher fetches images. It is safe for concurrent use and holds no connection between fetches.
type Fetcher struct {
	client   *http.Client
	maxBytes int64
	timeout  time.Duration
}

// New makes a Fetcher.
func New(o Options) (*Fetcher, error) {
	guard, err := newGuard(o.Allow, o.Resolver)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	f := &Fetcher{maxBytes: o.MaxBytes, timeout: o.Timeout}
	if f.maxBytes <= 0 {
		f.maxBytes = 10 << 20
	}
	if f.timeout <= 0 {
		f.timeout = 5 * time.Second
	}
	redirects := o.MaxRedirects
	if redirects == 0 {
		redirects = 5
	}
	f.client = &http.Client{
		Transport: &http.Transport{
			// Proxy stays nil: one from the environment would connect in our place, unchecked.
			DialContext:            guard.dial,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > redirects {
				return &Error{Kind: ErrUpstream, Message: fmt.Sprintf("the site redirects more than %d times", max(redirects, 0))}
			}
			// The URL that was redirected from is no business of the next site's.
			r.Header.Del("Referer")
			return checkURL(r.URL)
		},
	}
	return f, nil
}

// Image returns the image at a URL and its content type, as its bytes say. Errors are *Error.
func (f *Fetcher) Image(ctx context.Context, address string) (data []byte, contentType string, err error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return nil, "", &Error{Kind: ErrURL, Message: "expected a URL such as https://example.com/cat.jpg", Err: err}
	}
	if err := checkURL(u); err != nil {
		return nil, "", err
	}
	limited, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(limited, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, "", &Error{Kind: ErrURL, Message: "expected a URL such as https://example.com/cat.jpg", Err: err}
	}
	r.Header.Set("Accept", "image/jpeg, image/png, image/gif, image/bmp")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", "weir (image fetch)")
	res, err := f.client.Do(r)
	if err != nil {
		return nil, "", f.failed(ctx, limited, err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := f.checkAnswer(res); err != nil {
		return nil, "", err
	}
	data, err = io.ReadAll(io.LimitReader(res.Body, f.maxBytes+1))
	if err != nil {
		return nil, "", f.failed(ctx, limited, err)
	}
	if int64(len(data)) > f.maxBytes {
		return nil, "", f.tooLarge()
	}
	contentType, ok := sniff(data)
	if !ok {
		return nil, "", &Error{Kind: ErrNotImage, Message: "what the site answers is not a JPEG, PNG, GIF or BMP image"}
	}
	return data, contentType, nil
}

func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return &Error{Kind: ErrURL, Message: "expected a URL that starts with https:// or http://"}
	case u.User != nil:
		return &Error{Kind: ErrURL, Message: "expected a URL without user name and password"}
	case u.Hostname() == "":
		return &Error{Kind: ErrURL, Message: "expected a URL with a host name"}
	}
	return nil
}

// checkAnswer refuses by the header what need not be read.
func (f *Fetcher) checkAnswer(res *http.Response) error {
	switch {
	case res.StatusCode != http.StatusOK:
		return &Error{Kind: ErrUpstream, Message: fmt.Sprintf("the site answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))}
	case res.ContentLength > f.maxBytes:
		return f.tooLarge()
	case res.Header.Get("Content-Encoding") != "" && !strings.EqualFold(res.Header.Get("Content-Encoding"), "identity"):
		// It was not asked for, and could unpack to any size.
		return &Error{Kind: ErrNotImage, Message: "what the site answers is packed, not a plain image"}
	}
	return nil
}

func (f *Fetcher) tooLarge() error {
	return &Error{Kind: ErrTooLarge, Message: fmt.Sprintf("the image is over the limit of %d bytes", f.maxBytes)}
}

// failed names what went wrong; ctx is the caller's, limited the one with the time limit.
func (f *Fetcher) failed(ctx, limited context.Context, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	var timeout net.Error
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return &Error{Kind: ErrCanceled, Message: "the fetch was cancelled", Err: err}
	case limited.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Kind: ErrTimeout, Message: fmt.Sprintf("the site took longer than %v", f.timeout), Err: err}
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return &Error{Kind: ErrUpstream, Message: "the site's name was not found", Err: err}
	}
	return &Error{Kind: ErrUpstream, Message: "the site could not be reached or broke off", Err: err}
}
