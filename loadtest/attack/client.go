package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"

	"weir.dev/weir/internal/hop"
)

// maxConnections bounds the connections to one host, and with it the requests on their way.
const maxConnections = 10_000

// NotAllowedError is the error for a host that no load may be sent to.
type NotAllowedError struct{ Host string }

func (e *NotAllowedError) Error() string {
	return fmt.Sprintf("%s is neither this machine nor an address that weir knows: no load is sent there without --allow-host %s", e.Host, e.Host)
}

// Guard says where load may go: to loopback, and to the hosts that are named.
type Guard struct{ Allowed []string }

// dialled returns the host that requests for a URL go to, which is at's if that is not empty, and whether it is allowed.
func (g Guard) dialled(target, at string) (host string, allowed bool, err error) {
	if at == "" {
		u, err := url.Parse(target)
		if err != nil {
			return "", false, fmt.Errorf("target: %w", err)
		}
		at = u.Host
	}
	host = (&url.URL{Host: at}).Hostname()
	return host, slices.Contains(g.Allowed, host) || slices.Contains(g.Allowed, at), nil
}

// Check says whether load may be sent to a URL, whose host's requests go to the host:port at if that is not empty.
func (g Guard) Check(ctx context.Context, target, at string) error {
	host, allowed, err := g.dialled(target, at)
	if err != nil || allowed {
		return err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, a := range addrs {
		if !a.Unmap().IsLoopback() {
			return &NotAllowedError{host}
		}
	}
	return nil
}

// client sends one load's requests, over HTTP/2 if they are gRPC calls. A name that means another machine later does not
// lead there: what is dialled is checked again. Redirects are answers, not ways on. at is the host:port that is dialled,
// whatever the URL's host, if it is not empty.
func (g Guard) client(target, at string, calls bool) (*http.Client, error) {
	host, anywhere, err := g.dialled(target, at)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	dial := dialer.DialContext
	if at != "" {
		dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, at)
		}
	}
	dialer.Control = func(_, address string, c syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if local := err == nil && a.Addr().Unmap().IsLoopback(); local {
			begin(c, a)
		} else if !anywhere {
			return &NotAllowedError{host}
		}
		return nil
	}
	transport := &http.Transport{
		DialContext:         dial,
		MaxIdleConns:        maxConnections,
		MaxIdleConnsPerHost: maxConnections,
		IdleConnTimeout:     90 * time.Second,
		ReadBufferSize:      4 << 10, // there may be thousands of connections
		DisableCompression:  true,
	}
	// The sender shares the processors with what it measures: it asks as weir's router asks its replicas.
	client := &http.Client{
		Transport:     hop.New(transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if calls {
		transport.Protocols = &http.Protocols{}
		transport.Protocols.SetHTTP2(true)
		transport.Protocols.SetUnencryptedHTTP2(true)
		client.Transport = caller{transport}
	}
	return client, nil
}

// caller is a transport of gRPC calls. At the end of an answer its trailers, which say how the call ended, are in its header:
// vegeta shows no trailers.
type caller struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c caller) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = trailing{resp.Body, resp}
	}
	return resp, err
}

// trailing is the body of an answer with trailers.
type trailing struct {
	io.ReadCloser
	resp *http.Response
}

// Read implements io.Reader.
func (t trailing) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		maps.Copy(t.resp.Header, t.resp.Trailer)
	}
	return n, err
}

// connecting is how a request got its connection.
type connecting struct {
	began  time.Time
	took   time.Duration
	opened bool
}

// watch makes a context whose request tells how it gets its connection.
func watch(ctx context.Context) (context.Context, *connecting) {
	c := &connecting{}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { c.began = time.Now() },
		GotConn: func(i httptrace.GotConnInfo) { c.took, c.opened = time.Since(c.began), !i.Reused },
	}), c
}

// bounded is a transport whose requests end after a time, or when ctx does. vegeta's requests have no context.
type bounded struct {
	http.RoundTripper
	ctx     context.Context
	timeout time.Duration
	// connected is told how each request, by vegeta's number, got its connection.
	connected func(seq uint64, c *connecting)
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	ctx, c := watch(ctx)
	resp, err := b.RoundTripper.RoundTrip(req.WithContext(ctx))
	if seq, bad := strconv.ParseUint(req.Header.Get("X-Vegeta-Seq"), 10, 64); bad == nil {
		b.connected(seq, c)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &ending{resp.Body, cancel}
	return resp, nil
}

// ending is an answer's body that ends its request's context.
type ending struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (e *ending) Close() error {
	defer e.cancel()
	return e.ReadCloser.Close()
}
