package router

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weir.dev/weir/internal/rpc"
	inferencepb "weir.dev/weir/proto/inference"
)

// TestServerSentEventsArriveOneByOne lets the replica send its next event only after the client has the last one.
func TestServerSentEventsArriveOneByOne(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})})
	res, err := f.client.Post(f.url+"/v1/models/imagenet:predict", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for i := range 5 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
			t.Fatalf("event %d: %q, %v", i, lines.Text(), lines.Err())
		}
		next <- struct{}{}
	}
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("after the last event: %q, %v", lines.Text(), lines.Err())
	}
}

// TestEchoWhileReading sends 5 MB through a replica that answers each piece before it reads the next.
func TestEchoWhileReading(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		_, _ = io.Copy(w, r.Body)
	})})
	want := make([]byte, 5_000_000)
	_, _ = rand.Read(want)
	for _, length := range []int64{int64(len(want)), -1} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v2/models/imagenet/infer", io.NopCloser(bytes.NewReader(want)))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = length
		res, err := f.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("length %d: %d bytes came back of %d: %v", length, len(got), len(want), err)
		}
	}
}

// TestBodyIsNotBuffered has the replica answer the first bytes of a body that never ends by itself.
func TestBodyIsNotBuffered(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		line, _ := bufio.NewReader(r.Body).ReadString('\n')
		_, _ = io.WriteString(w, "got "+line)
		_ = rc.Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	})})
	body, send := io.Pipe()
	go func() { _, _ = io.WriteString(send, "first\n") }()
	res, err := f.client.Post(f.url+"/v1/models/imagenet:predict", "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || line != "got first\n" {
		t.Errorf("%q, %v", line, err)
	}
	_ = send.Close()
}

// TestLimitMidStream goes over the limit with a body that did not say its length.
func TestLimitMidStream(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo), Limits: Limits{Body: 1 << 20}})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v1/models/imagenet:predict", io.LimitReader(zeros{}, 2<<20))
	if err != nil {
		t.Fatal(err)
	}
	res, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(body), "over the limit of 1048576 bytes") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestHTTP2AndTrailers goes over unencrypted HTTP/2 with prior knowledge, as gRPC does.
func TestHTTP2AndTrailers(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Late", r.Trailer.Get("Sum"))
	})})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v2/models/imagenet/infer", io.MultiReader(strings.NewReader("hello")))
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"Sum": {"42"}}
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "hello" || res.ProtoMajor != 2 {
		t.Errorf("HTTP/%d %q, %v", res.ProtoMajor, body, err)
	}
	if res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Late") != "42" {
		t.Errorf("trailers are %v", res.Trailer)
	}
}

// TestUpgrade speaks another protocol through the router, as a websocket does.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	})})
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: imagenet.default.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%v, %v", res, err)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := in.ReadString('\n'); err != nil || line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// TestReplicaLostMidAnswer breaks the client's connection too, so that half an answer is not taken for a whole one.
func TestReplicaLostMidAnswer(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})})
	res, err := f.client.Post(f.url+"/v1/models/imagenet:predict", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("the answer %q looks whole", body)
	}
	waitFor(t, func() bool { return strings.Contains(f.log.String(), `"status":502`) }, f.log.String)
}

// TestReplicaLostMidStream ends a gRPC stream whose replica is lost with a status after which clients try again.
func TestReplicaLostMidStream(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		out := rpc.NewWriter(w, r)
		_ = out.Send(&inferencepb.ModelStreamInferResponse{})
		_ = out.Flush()
		panic(http.ErrAbortHandler)
	})})
	stream, err := inferencepb.NewGRPCInferenceServiceClient(f.conn(t)).ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&inferencepb.ModelInferRequest{ModelName: "imagenet"}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v, want Unavailable", err)
	}
}

// waitFor polls at a process's boundary, where there is nothing to wait on.
func waitFor(t *testing.T, done func() bool, state func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", state())
		}
	}
}
