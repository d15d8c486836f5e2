//go:build docker

package docker

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
)

// proxy serves ln as an HTTP proxy from this side of the namespace: apt, pip and go in a build reach their registries through
// it, by the proxy settings of Docker's client, and through nothing else.
func proxy(ln net.Listener) *http.Server {
	plain := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}} // the request names its host itself
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			plain.ServeHTTP(w, r)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			there.Close()
			return
		}
		if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			here.Close()
			there.Close()
			return
		}
		splice(here, there)
	})}
	go srv.Serve(ln)
	return srv
}

// splice copies both ways until both sides have ended.
func splice(a, b net.Conn) {
	done := make(chan struct{})
	one := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		// What comes after the end of one way is still wanted the other way.
		if half, ok := to.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		done <- struct{}{}
	}
	go one(a, b)
	go one(b, a)
	<-done
	<-done
	a.Close()
	b.Close()
}

// forward listens on this machine for what is served at address in the engine's network, and returns where.
func (e *engine) forward(address string) string {
	e.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			here, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := e.dial(address)
			if err != nil {
				here.Close()
				continue
			}
			go splice(here, there)
		}
	}()
	return ln.Addr().String()
}
