package h2

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// connectionHeaders are those that HTTP/2 does not have (RFC 9113, section 8.2.2).
var connectionHeaders = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Transfer-Encoding": true, "Upgrade": true, "Keep-Alive": true,
}

// newStream makes a stream of the header of a request.
func (c *conn) newStream(f *http2.MetaHeadersFrame) (*stream, error) {
	malformed := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	ctx, cancel := context.WithCancel(c.ctx)
	st := &stream{c: c, id: f.StreamID, cancel: cancel, declared: -1}
	st.body.st, st.body.more.L = st, &st.body.mu
	st.w.st, st.w.header, st.w.length = st, make(http.Header, 8), -1
	st.inflow.left.Store(window)
	r := new(http.Request).WithContext(ctx)
	st.req = r
	r.Proto, r.ProtoMajor, r.RemoteAddr = "HTTP/2.0", 2, c.nc.RemoteAddr().String()
	r.Header = make(http.Header, len(f.Fields))
	var scheme, path string
	values := make([]string, len(f.Fields))
	for i, field := range f.Fields {
		switch field.Name {
		case ":method":
			r.Method = field.Value
		case ":scheme":
			scheme = field.Value
		case ":path":
			path = field.Value
		case ":authority":
			r.Host = field.Value
		case ":protocol":
			cancel()
			return nil, malformed
		default:
			name := c.canonical(field.Name)
			if connectionHeaders[name] || name == "Te" && field.Value != "trailers" {
				cancel()
				return nil, malformed
			}
			if have, ok := r.Header[name]; ok {
				r.Header[name] = append(have, field.Value)
				continue
			}
			values[i] = field.Value
			r.Header[name] = values[i : i+1 : i+1]
		}
	}
	if !c.line(r, scheme, path) {
		cancel()
		return nil, malformed
	}
	if r.Host == "" {
		r.Host = r.Header.Get("Host")
	}
	delete(r.Header, "Host")
	if cookies := r.Header["Cookie"]; len(cookies) > 1 {
		r.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	st.trailers()
	r.ContentLength = -1
	if lengths, ok := r.Header["Content-Length"]; ok {
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || len(lengths) > 1 || n > 0 && f.StreamEnded() {
			cancel()
			return nil, malformed
		}
		st.declared, r.ContentLength = int64(n), int64(n)
	}
	r.Body = &st.body
	if f.StreamEnded() {
		r.Body = http.NoBody
		r.ContentLength = 0
	}
	if httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue") {
		st.body.ask = st.w.askBody
		delete(r.Header, "Expect")
	}
	st.w.tooLarge = tooLarge(f)
	return st, nil
}

// tooLarge says whether a header is over the limit.
func tooLarge(f *http2.MetaHeadersFrame) bool {
	size := uint32(0)
	for _, field := range f.Fields {
		size += field.Size()
	}
	return f.Truncated || size > maxHeader
}

// line sets what the pseudo header fields say.
func (c *conn) line(r *http.Request, scheme, path string) bool {
	if r.Method == http.MethodConnect {
		if path != "" || scheme != "" || r.Host == "" {
			return false
		}
		r.URL, r.RequestURI = &url.URL{Host: r.Host}, r.Host
		return true
	}
	if r.Method == "" || scheme != "http" && scheme != "https" {
		return false
	}
	if !strings.HasPrefix(path, "/") && path != "*" {
		return false // another server's address, for example
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return false
	}
	r.URL, r.RequestURI = u, path
	return true
}

// trailers notes which trailers the request announces.
func (st *stream) trailers() {
	r := st.req
	for _, list := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if !httpguts.ValidTrailerHeader(name) {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[name] = nil
		}
	}
	delete(r.Header, "Trailer")
	st.body.trailer = r.Trailer
}

// mostNames is how many names of headers a connection remembers.
const mostNames = 128

// names are names of headers as somebody else has them. A connection has few, and each was made once.
type names map[string]string

func (n names) as(form func(string) string, name string) string {
	known, ok := n[name]
	if !ok {
		known = form(name)
		if len(n) < mostNames {
			n[name] = known
		}
	}
	return known
}

// canonical is a header's name as net/http has it.
func (c *conn) canonical(name string) string {
	return c.canon.as(textproto.CanonicalMIMEHeaderKey, name)
}

// wire is a header's name as HTTP/2 has it, with the lock.
func (c *conn) wire(name string) string { return c.lower.as(strings.ToLower, name) }
