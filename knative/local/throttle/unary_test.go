package throttle

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"weir.dev/weir/internal/rpc"
)

// TestACallIsLostHalfway breaks the first replica's answer off, wherever; the call is then asked of the other one. A
// stream's is passed on as it comes.
func TestACallIsLostHalfway(t *testing.T) {
	t.Parallel()
	const message = "\x00\x00\x00\x00\x03abc"
	replica := func(t *testing.T, alive bool, written int) string {
		t.Helper()
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", rpc.ContentType)
			w.Header().Set("Trailer", rpc.TrailerStatus)
			_, _ = io.WriteString(w, message[:written])
			_ = http.NewResponseController(w).Flush()
			if !alive {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set(rpc.TrailerStatus, "0")
		}))
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	for _, tt := range []struct {
		name, path string
		written    int
		status     string
	}{
		{"after the head", "/inference.GRPCInferenceService/ModelInfer", 0, "0"},
		{"in the message", "/inference.GRPCInferenceService/ModelInfer", 6, "0"},
		{"before the trailer", "/tensorflow.serving.PredictionService/Predict", len(message), "0"},
		{"a stream", rpc.StreamPath, 6, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			th := New(Options{ContainerConcurrency: 1})
			t.Cleanup(th.Close)
			th.Add("dead", replica(t, false, tt.written))
			th.Add("alive", replica(t, true, len(message)))
			for range 2 { // one of them asks the dead one first
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://rev"+tt.path, bytes.NewReader([]byte(message)))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", rpc.ContentType)
				resp, err := th.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if tt.path == rpc.StreamPath {
					if err != nil {
						return // as it should
					}
					continue
				}
				if err != nil || string(body) != message || resp.Trailer.Get(rpc.TrailerStatus) != tt.status {
					t.Errorf("got %q, trailer %v, error %v", body, resp.Trailer, err)
				}
			}
			if tt.path == rpc.StreamPath {
				t.Error("a broken stream looks whole")
			}
		})
	}
}

// TestALongCallIsPassedOn gives back an answer that is longer than what is read of it before.
func TestALongCallIsPassedOn(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("0123456789abcdef"), readAheadLimit/8)
	resp := &http.Response{Body: io.NopCloser(bytes.NewReader(want))}
	if err := readAhead(resp); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, error %v, want %d", len(got), err, len(want))
	}
}
