package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// guard makes connections to addresses that are open.
type guard struct {
	hosts    map[string]bool // host:port that are open whatever they resolve to
	prefixes []netip.Prefix
	safe     func(network, address string, c syscall.RawConn) error
	guarded  *net.Dialer
	open     *net.Dialer
}

func newGuard(allow []string, resolver *net.Resolver) (*guard, error) {
	g := &guard{hosts: map[string]bool{}, safe: ssrf.New().Safe}
	var problems []error
	for _, a := range allow {
		if prefix, err := netip.ParsePrefix(a); err == nil {
			g.prefixes = append(g.prefixes, prefix.Masked())
			continue
		}
		host, port, err := net.SplitHostPort(a)
		if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || host == "" {
			problems = append(problems, fmt.Errorf("allow %q: expected a prefix such as 10.0.0.0/8 or a host and port", a))
			continue
		}
		g.hosts[net.JoinHostPort(strings.ToLower(host), port)] = true
	}
	g.guarded = &net.Dialer{Control: g.control, Resolver: resolver}
	g.open = &net.Dialer{Resolver: resolver}
	return g, errors.Join(problems...)
}

// dial is http.Transport.DialContext; address is as the URL has it.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if g.hosts[strings.ToLower(address)] {
		return g.open.DialContext(ctx, network, address)
	}
	return g.guarded.DialContext(ctx, network, address)
}

// control is net.Dialer.Control: it sees the address that is really connected to.
func (g *guard) control(network, address string, c syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err == nil {
		for _, prefix := range g.prefixes {
			if prefix.Contains(to.Addr().Unmap()) {
				return nil
			}
		}
	}
	if err := g.safe(network, address, c); err != nil {
		message := "the address is not public: only public web addresses are open"
		if errors.Is(err, ssrf.ErrProhibitedPort) {
			message = "the port is not open: only 80 and 443 are"
		}
		return &Error{Kind: ErrForbidden, Message: message, Err: err}
	}
	return nil
}
