package direct

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/internal/soon"
)

// limit of a message in these tests.
const limit = 4096

// echo answers REST with its path and a call with its message, and says which server has it.
func echo(w http.ResponseWriter, r *http.Request) error {
	by := "net/http"
	for u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok; u, ok = w.(interface{ Unwrap() http.ResponseWriter }) {
		w = u.Unwrap()
	}
	if _, ok := w.(*writer); ok {
		by = "grpc-go"
	}
	w.Header().Set("By", by)
	if !rpc.IsCall(r) {
		_, err := io.WriteString(w, r.URL.Path)
		return err
	}
	in, err := rpc.NewReader(r, limit)
	if err != nil {
		return err
	}
	message, err := in.Single()
	if err != nil {
		return err
	}
	var req wrapperspb.StringValue
	return rpc.Answer(w, r, message, &req, func() (proto.Message, error) {
		switch req.GetValue() {
		case "panic":
			panic("as asked")
		case "abort":
			panic(http.ErrAbortHandler)
		case "refuse":
			return nil, &server.Error{Status: http.StatusServiceUnavailable, Message: "100 % full", RetryAfter: time.Second}
		}
		return &req, nil
	})
}

// port is a server and what ended it.
type port struct {
	addr string
	stop context.CancelFunc
	done chan error
}

// listen serves h on both ways. If h is nil, echo.
func listen(t *testing.T, h server.HandlerFunc, o Options, l server.Limits) *port {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if h == nil {
		h = echo
	}
	handler := server.Adapt(h, server.Options{WriteError: func(w http.ResponseWriter, r *http.Request, e *server.Error) {
		if rpc.IsCall(r) {
			rpc.WriteError(w, r, e)
			return
		}
		server.WriteError(w, e)
	}})
	o.Message = limit
	ctx, stop := context.WithCancel(t.Context())
	p := &port{ln.Addr().String(), stop, make(chan error, 1)}
	go func() {
		p.done <- server.RunBeside(ctx, ln, handler, l, New(handler, o))
		close(p.done)
	}()
	t.Cleanup(func() {
		stop()
		for err := range p.done {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

func (p *port) dial(t *testing.T, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(p.addr, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// say sends a text as a call and returns the answer, and which server gave it.
func say(ctx context.Context, conn *grpc.ClientConn, text string, options ...grpc.CallOption) (answer, by string, err error) {
	var out wrapperspb.StringValue
	var header metadata.MD
	err = conn.Invoke(ctx, "/test.Echo/Say", wrapperspb.String(text), &out, append(options, grpc.Header(&header))...)
	return out.GetValue(), strings.Join(header["by"], " "), err
}

func TestCalls(t *testing.T) {
	t.Parallel()
	conn := listen(t, nil, Options{}, server.Limits{}).dial(t)
	for _, tt := range []struct {
		name, say string
		options   []grpc.CallOption
		code      codes.Code
		want      string
	}{
		{name: "good", say: "hello"},
		{name: "empty"},
		{name: "gzip", say: strings.Repeat("a", 4000), options: []grpc.CallOption{grpc.UseCompressor(gzip.Name)}},
		{name: "deflate", say: strings.Repeat("a", 4000), options: []grpc.CallOption{grpc.UseCompressor(rpc.Deflate)}},
		{name: "too large", say: strings.Repeat("a", 4097), code: codes.ResourceExhausted, want: "larger than max"},
		{name: "too large when decompressed", say: strings.Repeat("a", 1<<20), options: []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, code: codes.ResourceExhausted, want: "larger than max"},
		{name: "too large when inflated", say: strings.Repeat("a", 1<<20), options: []grpc.CallOption{grpc.UseCompressor(rpc.Deflate)}, code: codes.ResourceExhausted, want: "larger than max"},
		{name: "refused", say: "refuse", code: codes.Unavailable, want: "100 % full"},
		{name: "a handler that panics", say: "panic", code: codes.Internal, want: "internal error"},
		{name: "a handler that gives up", say: "abort", code: codes.Internal, want: "broken off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var trailer metadata.MD
			got, by, err := say(t.Context(), conn, tt.say, append(tt.options, grpc.Trailer(&trailer))...)
			if status.Code(err) != tt.code || (tt.code == codes.OK && got != tt.say) || !strings.Contains(status.Convert(err).Message(), tt.want) {
				t.Errorf("%.20q, %v", got, err)
			}
			if tt.code == codes.OK && by != "grpc-go" {
				t.Errorf("answered by %q", by)
			}
			if pushback := strings.Join(trailer["grpc-retry-pushback-ms"], ""); (tt.say == "refuse") != (pushback == "1000") {
				t.Errorf("pushback %q", pushback)
			}
		})
	}
}

// TestHandlersSeeTheCall has what a handler is told of a call.
func TestHandlersSeeTheCall(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	p := listen(t, func(w http.ResponseWriter, r *http.Request) error {
		seen <- r
		return echo(w, r)
	}, Options{}, server.Limits{})
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-weir-tag", "a", "more", "1", "more", "2"), time.Hour)
	defer cancel()
	if _, _, err := say(ctx, p.dial(t, grpc.WithAuthority("model.example.com")), "x"); err != nil {
		t.Fatal(err)
	}
	r := <-seen
	deadline, ok := r.Context().Deadline()
	if !ok || time.Until(deadline) < 50*time.Minute || r.Host != "model.example.com" || r.URL.Path != "/test.Echo/Say" || r.Method != http.MethodPost ||
		r.Header.Get("X-Weir-Tag") != "a" || len(r.Header["More"]) != 2 || r.Header.Get("Content-Type") != "application/grpc" ||
		!strings.HasPrefix(r.RemoteAddr, "127.0.0.1:") || r.ProtoMajor != 2 {
		t.Errorf("deadline %v, host %q: %+v", deadline, r.Host, r)
	}
}

// TestEndOfContext lets clients leave, their deadlines pass, and bodies not come.
func TestEndOfContext(t *testing.T) {
	t.Parallel()
	type end struct{ read, context error }
	ended := make(chan end, 1)
	begun := make(chan struct{}, 1)
	p := listen(t, func(w http.ResponseWriter, r *http.Request) error {
		begun <- struct{}{}
		if r.Header.Get("Wait") == "body" {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := r.Body.Read(make([]byte, 1))
			ended <- end{read: err}
			return err
		}
		<-r.Context().Done()
		ended <- end{context: r.Context().Err()}
		return r.Context().Err()
	}, Options{}, server.Limits{})
	conn := p.dial(t)
	open := func(ctx context.Context) grpc.ClientStream {
		t.Helper()
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/test.Echo/Say")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ctx, cancel := context.WithCancel(t.Context())
	open(ctx)
	soon.Next(t, "a call", begun)
	cancel()
	if got := soon.Next(t, "its end", ended); !errors.Is(got.context, context.Canceled) {
		t.Errorf("the client left: %v", got.context)
	}
	// The client does not end the call, the server does; on a busy machine maybe before the handler is asked: then a longer one is tried.
	for limit, asked := 50*time.Millisecond, false; !asked; limit *= 2 {
		s := open(ending{t.Context(), time.Now().Add(limit)})
		if err := s.RecvMsg(&wrapperspb.StringValue{}); status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("the client is told %v", err)
		}
		select {
		case <-begun:
			asked = true
		default:
		}
	}
	if got := soon.Next(t, "its end", ended); !errors.Is(got.context, context.DeadlineExceeded) {
		t.Errorf("the deadline passed: %v", got.context)
	}
	s := open(metadata.AppendToOutgoingContext(t.Context(), "wait", "body"))
	if got := soon.Next(t, "its end", ended); !errors.Is(got.read, os.ErrDeadlineExceeded) {
		t.Errorf("the body did not come: %v", got.read)
	}
	if err := s.RecvMsg(&wrapperspb.StringValue{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the client whose message did not come is told %v", err)
	}
}

// ending is a context with a deadline at which it does not end by itself.
type ending struct {
	context.Context
	at time.Time
}

// Deadline implements context.Context.
func (e ending) Deadline() (time.Time, bool) { return e.at, true }

// TestLateCancel has a context that is cancelled at its deadline, as grpc-go does it.
func TestLateCancel(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   time.Duration
		want error
	}{"at the deadline": {-time.Second, context.DeadlineExceeded}, "before": {time.Hour, context.Canceled}} {
		ctx, cancel := context.WithCancel(ending{t.Context(), time.Now().Add(tt.in)})
		cancel()
		if err := (limited{ctx}).Err(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDrain ends a server under calls: they are answered, new ones are not taken, and those that do not end are cut off.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		drain time.Duration
		code  codes.Code
	}{{"in time", time.Minute, codes.OK}, {"too long", 20 * time.Millisecond, codes.Unavailable}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begun, release := make(chan struct{}, 1), make(chan struct{})
			p := listen(t, func(w http.ResponseWriter, r *http.Request) error {
				begun <- struct{}{}
				select {
				case <-release:
				case <-r.Context().Done():
					return r.Context().Err()
				}
				return echo(w, r)
			}, Options{}, server.Limits{Drain: tt.drain})
			conn := p.dial(t)
			answered := make(chan error, 1)
			go func() {
				_, _, err := say(t.Context(), conn, "x")
				answered <- err
			}()
			soon.Next(t, "the call", begun)
			p.stop()
			for { // until the port is closed
				c, err := net.Dial("tcp", p.addr)
				if err != nil {
					break
				}
				_ = c.Close()
			}
			if tt.code == codes.OK {
				close(release)
			}
			if err := soon.Next(t, "the call's end", answered); status.Code(err) != tt.code {
				t.Errorf("the call ends with %v", err)
			}
			if err := soon.Next(t, "the server's end", p.done); (err == nil) != (tt.code == codes.OK) {
				t.Errorf("the server ends with %v", err)
			}
		})
	}
}
