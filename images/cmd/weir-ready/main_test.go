package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReady(t *testing.T) {
	t.Parallel()
	status := http.StatusServiceUnavailable
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			status = http.StatusNotFound
		}
		http.Error(w, "still loading", status)
	}))
	t.Cleanup(srv.Close)
	address := srv.Listener.Addr().String()
	if err := ready(t.Context(), address); err == nil || !strings.Contains(err.Error(), "still loading") {
		t.Errorf("503 is %v", err)
	}
	status = http.StatusOK
	if err := ready(t.Context(), address); err != nil {
		t.Errorf("200 is %v", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := ready(ctx, ln.Addr().String()); err == nil {
		t.Error("a program that does not answer is ready")
	}
}
