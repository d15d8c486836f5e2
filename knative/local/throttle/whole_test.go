package throttle

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
)

// startCalls is a replica that answers health checks: SERVING, and an error for the service "none". It tells in the header
// how the call came.
func startCalls(t testing.TB) string {
	t.Helper()
	handle := func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Came-By", r.Proto)
		in, err := rpc.NewReader(r, 1<<20)
		if err != nil {
			return err
		}
		message, err := in.Single()
		if err != nil {
			return err
		}
		req := &healthpb.HealthCheckRequest{}
		return rpc.Answer(w, r, message, req, func() (proto.Message, error) {
			if req.GetService() == "none" {
				return nil, &server.Error{Status: http.StatusNotFound, Message: "no such service: 100 %"}
			}
			return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
		})
	}
	srv := httptest.NewUnstartedServer(server.Adapt(handle, server.Options{WriteError: rpc.WriteError}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// ended is all that an answer says.
type ended struct {
	Status          int
	Header, Trailer http.Header
	Body            string
}

// health asks about a service, through a throttle of its own. A call that was read whole can be sent again.
func health(t testing.TB, addr string, s Started, read bool, header http.Header, body []byte) (got ended, cameBy string) {
	t.Helper()
	th := New(Options{Revision: "m-00001"})
	defer th.Close()
	th.AddStarted("a", addr, s)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://rev/grpc.health.v1.Health/Check", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	req.Header.Set("Content-Type", rpc.ContentType)
	req.Header.Set(server.HeaderRequestID, "one")
	if !read {
		req.ContentLength, req.GetBody = -1, nil
	}
	resp, err := th.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	cameBy = resp.Header.Get("Came-By")
	for _, name := range []string{"Came-By", "Date", "Server-Timing"} {
		resp.Header.Del(name)
	}
	// It is announced, with or without a value.
	if resp.Trailer.Get(rpc.TrailerMessage) == "" {
		resp.Trailer.Del(rpc.TrailerMessage)
	}
	return ended{resp.StatusCode, resp.Header, resp.Trailer, string(all)}, cameBy
}

func TestCallInOnePiece(t *testing.T) {
	t.Parallel()
	addr := startCalls(t)
	check := func(service string) []byte {
		m, err := proto.Marshal(&healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{0, 0, 0, 0, byte(len(m))}, m...)
	}
	tests := []struct {
		name   string
		header http.Header
		body   []byte
		status string
	}{
		{"good", http.Header{}, check(""), "0"},
		{"an error", http.Header{}, check("none"), "5"},
		{"compressed", http.Header{"Grpc-Encoding": {"gzip"}, "Grpc-Accept-Encoding": {"gzip"}}, check(""), "0"},
		{"two messages", http.Header{}, append(check(""), check("")...), "3"},
		{"no protocol buffer", http.Header{}, []byte{0, 0, 0, 0, 1, 0x0f}, "3"},
		{"unknown compression", http.Header{"Grpc-Encoding": {"snappy"}}, check(""), "12"},
		// Who sends the word from outside gains nothing by it.
		{"named so by the client", http.Header{"X-Weir-Call": {"whole"}}, check(""), "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			whole, by := health(t, addr, Started{WholeCalls: true}, true, tt.header.Clone(), tt.body)
			if by != "HTTP/1.1" {
				t.Errorf("the call in one piece came by %q", by)
			}
			for _, other := range []struct {
				name string
				s    Started
				read bool
			}{{"to a replica that does not take it", Started{}, true}, {"not read whole", Started{WholeCalls: true}, false}} {
				framed, by := health(t, addr, other.s, other.read, tt.header.Clone(), tt.body)
				if by != "HTTP/2.0" {
					t.Errorf("%s: came by %q", other.name, by)
				}
				if diff := cmp.Diff(framed, whole); diff != "" {
					t.Errorf("%s: over HTTP/2 (-) and in one piece (+):\n%s", other.name, diff)
				}
			}
			if got := whole.Trailer.Get(rpc.TrailerStatus) + whole.Header.Get(rpc.TrailerStatus); got != tt.status {
				t.Errorf("status %s, want %s: %v", got, tt.status, whole)
			}
		})
	}
}

// A call in one piece may be cut like any answer: it must not pass for a whole one.
func TestCallInOnePieceCut(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set(rpc.TrailerStatus, "0")
		_, _ = w.Write([]byte{0, 0, 0})
	}))
	t.Cleanup(srv.Close)
	th := New(Options{})
	defer th.Close()
	th.AddStarted("a", srv.Listener.Addr().String(), Started{WholeCalls: true})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://rev/s/m", bytes.NewReader(make([]byte, 5)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", rpc.ContentType)
	resp, err := th.RoundTrip(req)
	if err != nil {
		return // it was seen before the answer was passed on
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut answer ends with %v", err)
	}
}
