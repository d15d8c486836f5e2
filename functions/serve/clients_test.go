package serve

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/client"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/internal/soon"
)

// TestEventClient talks to the server through the CloudEvents SDK's own client, in both modes.
func TestEventClient(t *testing.T) {
	t.Parallel()
	addr := listen(t, toyServer(t))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p, err := cehttp.New(cehttp.WithTarget("http://"+addr), cehttp.WithRoundTripper(transport))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(p)
	if err != nil {
		t.Fatal(err)
	}
	for mode, ctx := range map[string]context.Context{"binary": binding.WithForceBinary(t.Context()), "structured": binding.WithForceStructured(t.Context())} {
		e := event.New()
		e.SetID("1")
		e.SetSource("/client")
		e.SetType("dev.weir.predict")
		if err := e.SetData(event.ApplicationJSON, map[string]any{"instances": [][]float32{{1, 2, 3}}}); err != nil {
			t.Fatal(err)
		}
		reply, result := c.Request(ctx, e)
		if reply == nil || reply.Type() != TypePrediction || strings.TrimSpace(string(reply.Data())) != `{"predictions":[[1.0,2.0,3.0]]}` {
			t.Errorf("%s: %v: %v", mode, result, reply)
		}
	}
}

// TestHTTP2 sends the same requests over unencrypted HTTP/2, as a cluster's h2c port gets them.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{Limits: Limits{Body: 1 << 16, Read: 500 * time.Millisecond}})
	s.SetModel(toy())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, ln, s.Handler(), server.Limits{}) }()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := soon.Next(t, "the server's end", done); err != nil {
			t.Error(err)
		}
	})
	send := func(body io.Reader) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ln.Addr().String()+"/v1/models/toy:predict", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	stuck, writer := io.Pipe()
	defer writer.Close()
	for _, tt := range []struct {
		name   string
		body   io.Reader
		status int
		want   string
	}{
		{"good", strings.NewReader(goodBody), 200, "predictions"},
		{"oversized", strings.NewReader(strings.Repeat(" ", 1<<17)), 413, "limit of 65536 bytes"},
		{"a body that does not come", stuck, 408, "did not arrive"},
		{"good again", strings.NewReader(goodBody), 200, "predictions"},
	} {
		if status, body := send(tt.body); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: status %d: %s", tt.name, status, body)
		}
	}
}
