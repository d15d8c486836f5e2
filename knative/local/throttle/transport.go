package throttle

import (
	"net"
	"net/http"
	"time"

	"weir.dev/weir/internal/hop"
	"weir.dev/weir/internal/rpc"
)

// transport sends requests to replicas on this machine: gRPC calls over HTTP/2, which they need, everything else over
// HTTP/1.1, which costs less; so do short calls to a replica that takes them in one piece.
type transport struct {
	plain *hop.Transport
	calls *http.Transport
}

// newTransport returns a transport that keeps every connection, as a closed one costs more than an idle one, and lets
// bodies pass as they are.
func newTransport() *transport {
	plain := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   1024,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
	}
	calls := plain.Clone()
	calls.Protocols = new(http.Protocols)
	calls.Protocols.SetUnencryptedHTTP2(true)
	return &transport{hop.New(plain), calls}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if rpc.IsCall(r) {
		return t.calls.RoundTrip(r)
	}
	return t.plain.RoundTrip(r)
}

// whole sends a call in one piece.
func (t *transport) whole(r *http.Request) (*http.Response, error) {
	rpc.Fold(r)
	resp, err := t.plain.RoundTrip(r)
	if err == nil {
		rpc.Unfold(resp)
	}
	return resp, err
}

// CloseIdleConnections closes the connections that no request uses.
func (t *transport) CloseIdleConnections() {
	t.plain.CloseIdleConnections()
	t.calls.CloseIdleConnections()
}
