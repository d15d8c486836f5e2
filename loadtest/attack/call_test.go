package attack

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/scenario"
	inferencepb "weir.dev/weir/proto/inference"
)

// TestCalls: gRPC in both kinds of loop. How a call ended is in its trailers, or in the header alone.
func TestCalls(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Weir-Tag") != "next" || r.Header.Get("Te") != "trailers" || !rpc.IsCall(r) {
			rpc.WriteError(w, r, &server.Error{Status: http.StatusBadRequest, Message: "metadata is missing"})
			return
		}
		in, err := rpc.NewReader(r, 1<<10)
		if err != nil {
			t.Error(err)
			return
		}
		message, err := in.Single()
		if err != nil || len(message) == 0 {
			rpc.WriteError(w, r, &server.Error{Status: http.StatusServiceUnavailable, Message: "40 requests wait: 100 %", RetryAfter: time.Second})
			return
		}
		w.Header().Set(knative.HeaderRevision, "m-00001")
		req := &inferencepb.ModelInferRequest{}
		_ = rpc.Answer(w, r, message, req, func() (proto.Message, error) {
			return &inferencepb.ModelInferResponse{ModelName: req.GetModelName()}, nil
		})
	}))
	srv.Config.Protocols = &http.Protocols{}
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	l := scenario.Load{
		Name: "m", Target: scenario.Target{Model: "m", Tag: "next", API: scenario.GRPC},
		Inputs: []scenario.Input{
			{ContentType: rpc.ContentType, Body: []byte("\x00\x00\x00\x00\x03\x0a\x01m")},
			{ContentType: rpc.ContentType, Body: []byte("\x00\x00\x00\x00\x00")},
		},
		Stages: []scenario.Stage{closed(2, 200*time.Millisecond, 10*time.Millisecond), open(100, 200*time.Millisecond)},
	}
	g, got := generator(t, l, URL(l.Target, srv.URL))
	g.Run(t.Context())
	ok := map[bool]int{}
	for _, s := range got.all {
		if s.Refused() {
			if s.Message != "Unavailable: N requests wait: N %" || !s.RetryAfter {
				t.Fatalf("refusal %+v", s)
			}
			continue
		}
		if !s.OK() || s.Revision != "m-00001" {
			t.Fatalf("answer %+v", s)
		}
		ok[s.Closed]++
	}
	if ok[true] == 0 || ok[false] != 10 {
		t.Errorf("%d good answers to users and %d to arrivals, want some and 10", ok[true], ok[false])
	}
}
