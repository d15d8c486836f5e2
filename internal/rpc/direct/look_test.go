package direct

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weir.dev/weir/internal/server"
)

// TestOnePort asks for everything that a port answers, and who answers it.
func TestOnePort(t *testing.T) {
	t.Parallel()
	p := listen(t, nil, Options{}, server.Limits{})
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		transport := newTransport(t, h2)
		for range 2 { // the second request on the same connection
			if got := rest(t, transport, p.addr); got != "/path by net/http" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	for _, tt := range []struct {
		name, by string
		header   []string
		options  []grpc.DialOption
	}{
		{name: "a client", by: "grpc-go"},
		{name: "a client with a name of its own", by: "grpc-go", options: []grpc.DialOption{grpc.WithUserAgent("batcher/1")}},
		{name: "through a proxy", by: "net/http", header: []string{"x-forwarded-for", "10.0.0.1"}},
		{name: "through queue-proxy", by: "net/http", header: []string{"k-proxy-request", "activator"}},
	} {
		conn := p.dial(t, tt.options...)
		for range 2 {
			if got, by, err := say(metadata.AppendToOutgoingContext(t.Context(), tt.header...), conn, "x"); err != nil || got != "x" || by != tt.by {
				t.Errorf("%s: %q by %q, %v; want %q", tt.name, got, by, err, tt.by)
			}
		}
	}
}

// TestMixedConnection sends REST and calls on one connection, as a proxy does.
func TestMixedConnection(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"REST", "a call", "a call that was passed on", "a call that does not say so"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			p := listen(t, nil, Options{}, server.Limits{})
			transport := newTransport(t, true)
			passedOn := http.Header{"User-Agent": {"grpc-go/1.0"}, "X-Forwarded-For": {"10.0.0.1"}}
			for range 2 {
				switch first {
				case "a call":
					if got := rawCall(t, transport, p.addr, nil); got != "x by net/http" {
						t.Error(got)
					}
				case "a call that was passed on":
					if got := rawCall(t, transport, p.addr, passedOn); got != "x by net/http" {
						t.Error(got)
					}
				case "a call that does not say so":
					if got := rawCall(t, transport, p.addr, http.Header{"User-Agent": {"grpc-go/1.0"}}); got != "x by net/http" {
						t.Error(got)
					}
				}
				if got := rest(t, transport, p.addr); got != "/path by net/http" {
					t.Error(got)
				}
				if got := rawCall(t, transport, p.addr, passedOn); got != "x by net/http" {
					t.Error(got)
				}
			}
		})
	}
}

func newTransport(t *testing.T, h2 bool) *http.Transport {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func rest(t *testing.T, transport *http.Transport, addr string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/path", strings.NewReader(strings.Repeat("x", 100_000)))
	if err != nil {
		t.Fatal(err)
	}
	body, header := send(t, transport, r)
	return string(body) + " by " + header.Get("By")
}

func rawCall(t *testing.T, transport *http.Transport, addr string, header http.Header) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/test.Echo/Say", bytes.NewReader(frame(t, "x")))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/grpc")
	body, answer := send(t, transport, r)
	var got wrapperspb.StringValue
	if len(body) < 5 || proto.Unmarshal(body[5:], &got) != nil {
		t.Fatalf("%q", body)
	}
	return got.GetValue() + " by " + answer.Get("By")
}

func send(t *testing.T, transport *http.Transport, r *http.Request) ([]byte, http.Header) {
	t.Helper()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body, resp.Header
}

// frame is a text as a call's only message.
func frame(t *testing.T, text string) []byte {
	t.Helper()
	message, err := proto.Marshal(wrapperspb.String(text))
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// TestBeginnings has connections that begin wrong or do not go on: they end, and the next one is served.
func TestBeginnings(t *testing.T) {
	t.Parallel()
	const preface = http2.ClientPreface
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, tt := range []struct{ name, sent string }{
		{"nothing", ""},
		{"half a preface", preface[:10]},
		{"half of HTTP/1", "GET / HT"},
		{"a preface that is none", preface[:20] + "XXXX"},
		{"no more than the preface", preface},
		{"half of SETTINGS", preface + settings[:5]},
		{"SETTINGS cut short", preface + "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00"},
		{"no SETTINGS", preface + "\x00\x00\x00\x01\x04\x00\x00\x00\x01"},
		{"SETTINGS of a wrong length", preface + "\x00\x00\x05\x04\x00\x00\x00\x00\x00abcde"},
		{"a frame over the limit", preface + settings + "\xff\xff\xff\x01\x04\x00\x00\x00\x01"},
		{"a header that is none", preface + settings + "\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff"},
		{"DATA first", preface + settings + "\x00\x00\x01\x00\x00\x00\x00\x00\x01x"},
		{"a header that does not end", preface + settings + strings.Repeat("\x00\x00\x00\x09\x00\x00\x00\x00\x01", 20_000)},
		{"windows without end", preface + settings + strings.Repeat("\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x01\x00\x00", 40_000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// On a busy machine the next call may take longer than a port waits for its beginning: then it is asked of one that waits longer.
			for begin := 100 * time.Millisecond; ; begin *= 2 {
				p := listen(t, nil, Options{Begin: begin}, server.Limits{ReadHeader: begin})
				conn, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				_, _ = io.WriteString(conn, tt.sent) // may be closed meanwhile
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection goes on")
				}
				_ = conn.Close()
				got, _, err := say(t.Context(), p.dial(t), "x")
				if err == nil && got == "x" {
					return
				}
				if begin > 5*time.Second {
					t.Fatalf("the next call: %q, %v", got, err)
				}
			}
		})
	}
}

// TestLateFirstRequest waits with the first request until the port no longer does, or sends something else first.
func TestLateFirstRequest(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"nothing", "a ping"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			// On a busy machine a short time may end before SETTINGS are read, and the connection with it: then a longer one is tried.
			for begin := 50 * time.Millisecond; !answeredLate(t, first, begin); begin *= 2 {
			}
		})
	}
}

// answeredLate says whether a request that comes after begin is answered: false if the port has closed the connection.
func answeredLate(t *testing.T, first string, begin time.Duration) bool {
	t.Helper()
	p := listen(t, nil, Options{Begin: begin}, server.Limits{})
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	fr := http2.NewFramer(conn, conn)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	if first == "a ping" {
		_ = fr.WritePing(false, [8]byte{1})
	}
	var settings int
	for asked := false; ; {
		f, err := fr.ReadFrame()
		if settings == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				settings++
				_ = fr.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if by := f.Fields[0].Value; f.PseudoValue("status") != "200" {
				t.Error(by)
			}
			return true
		case *http2.GoAwayFrame:
			t.Fatal(f)
		}
		// The second SETTINGS are net/http's own: it has the connection.
		if settings == 2 && !asked {
			asked = true
			var header bytes.Buffer
			e := hpack.NewEncoder(&header)
			for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/late"}, {":authority", "x"}} {
				_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
			}
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: header.Bytes(), EndStream: true, EndHeaders: true})
		}
	}
}
