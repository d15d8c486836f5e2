package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/image/bmp"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// encode draws a small image.
func encode(t testing.TB, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 4, 3))
	var err error
	switch format {
	case "jpeg":
		err = jpeg.Encode(&b, img, nil)
	case "png":
		err = png.Encode(&b, img)
	case "gif":
		err = gif.Encode(&b, img, nil)
	case "bmp":
		err = bmp.Encode(&b, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// site is a web server on this machine; its address is for Options.Allow.
func site(t testing.TB, h http.HandlerFunc) (base, address string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL, srv.Listener.Addr().String()
}

func fetcher(t testing.TB, o Options) *Fetcher {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestImage(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"jpeg", "png", "gif", "bmp"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			want := encode(t, format)
			base, address := site(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/moved" {
					http.Redirect(w, r, "/image", http.StatusFound)
					return
				}
				if r.Header.Get("Referer") != "" {
					t.Errorf("the site was told Referer %q", r.Header.Get("Referer"))
				}
				w.Header().Set("Content-Type", "text/plain")
				_, _ = w.Write(want)
			})
			f := fetcher(t, Options{Allow: []string{address}})
			for _, path := range []string{"/image", "/moved"} {
				data, contentType, err := f.Image(t.Context(), " "+base+path+" ")
				if err != nil || contentType != "image/"+format || !bytes.Equal(data, want) {
					t.Errorf("%s: %d bytes of %q, %v; want %d of image/%s", path, len(data), contentType, err, len(want), format)
				}
			}
		})
	}
}

func TestRefusedURLs(t *testing.T) {
	t.Parallel()
	f := fetcher(t, Options{Timeout: 2 * time.Second})
	tests := []struct {
		name, url string
		kinds     []error
	}{
		{"empty", "", []error{ErrURL}},
		{"relative", "cat.jpg", []error{ErrURL}},
		{"no scheme", "//example.com/cat.jpg", []error{ErrURL}},
		{"file", "file:///etc/passwd", []error{ErrURL}},
		{"ftp", "ftp://example.com/cat.jpg", []error{ErrURL}},
		{"gopher", "gopher://127.0.0.1:80/", []error{ErrURL}},
		{"data", "data:image/png;base64,AAAA", []error{ErrURL}},
		{"no host", "http:///cat.jpg", []error{ErrURL}},
		{"user", "http://user:pw@example.com/", []error{ErrURL}},
		{"control byte", "http://example.com/\x00", []error{ErrURL}},
		{"bad port", "http://example.com:x/", []error{ErrURL}},
		{"loopback", "http://127.0.0.1/", []error{ErrForbidden}},
		{"loopback range", "http://127.9.9.9/", []error{ErrForbidden}},
		{"loopback name", "http://localhost/", []error{ErrForbidden}},
		{"loopback v6", "http://[::1]/", []error{ErrForbidden}},
		{"any", "http://0.0.0.0/", []error{ErrForbidden}},
		{"any v6", "http://[::]/", []error{ErrForbidden}},
		{"private 10", "http://10.0.0.1/", []error{ErrForbidden}},
		{"private 172.16", "http://172.16.0.1/", []error{ErrForbidden}},
		{"private 192.168", "https://192.168.1.1/", []error{ErrForbidden}},
		{"shared", "http://100.64.0.1/", []error{ErrForbidden}},
		{"link-local", "http://169.254.169.254/latest/meta-data/", []error{ErrForbidden}},
		{"link-local v6", "http://[fe80::1]/", []error{ErrForbidden}},
		{"unique local v6", "http://[fd00::1]/", []error{ErrForbidden}},
		{"multicast", "http://224.0.0.1/", []error{ErrForbidden}},
		{"broadcast", "http://255.255.255.255/", []error{ErrForbidden}},
		{"documentation", "http://192.0.2.1/", []error{ErrForbidden}},
		{"mapped loopback", "http://[::ffff:127.0.0.1]/", []error{ErrForbidden}},
		{"mapped private", "http://[::ffff:a00:1]/", []error{ErrForbidden}},
		{"NAT64 of loopback", "http://[64:ff9b::7f00:1]/", []error{ErrForbidden}},
		{"6to4 of loopback", "http://[2002:7f00:1::]/", []error{ErrForbidden}},
		// Whether these are addresses is up to the system's resolver; in no case are they reached.
		{"decimal", "http://2130706433/", []error{ErrForbidden, ErrUpstream, ErrTimeout}},
		{"hexadecimal", "http://0x7f000001/", []error{ErrForbidden, ErrUpstream, ErrTimeout}},
		{"octal", "http://0177.0.0.1/", []error{ErrForbidden, ErrUpstream, ErrTimeout}},
		{"short", "http://127.1/", []error{ErrForbidden, ErrUpstream, ErrTimeout}},
		{"closed port", "http://8.8.8.8:22/", []error{ErrForbidden}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data, _, err := f.Image(t.Context(), tt.url)
			var e *Error
			if !errors.As(err, &e) || data != nil {
				t.Fatalf("Image = %d bytes, %v; want an *Error", len(data), err)
			}
			for _, kind := range tt.kinds {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Errorf("%v (%v), want one of %v", err, e.Kind, tt.kinds)
		})
	}
}

// TestRedirectToClosedAddress goes from an open site to one that is not.
func TestRedirectToClosedAddress(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	secret, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { reached.Store(true) })
	tests := []struct {
		name, to string
		kind     error
	}{
		{"loopback", secret, ErrForbidden},
		{"mapped", strings.Replace(secret, "127.0.0.1", "[::ffff:127.0.0.1]", 1), ErrForbidden},
		{"file", "file:///etc/passwd", ErrURL},
		{"user", "http://a:b@example.com/", ErrURL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base, address := site(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, tt.to, http.StatusFound) })
			_, _, err := fetcher(t, Options{Allow: []string{address}}).Image(t.Context(), base)
			if !errors.Is(err, tt.kind) || reached.Load() {
				t.Errorf("error %v, want %v; reached: %v", err, tt.kind, reached.Load())
			}
		})
	}
}

func TestRedirectLimit(t *testing.T) {
	t.Parallel()
	var hops atomic.Int32
	base, address := site(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, fmt.Sprintf("/%d", hops.Add(1)), http.StatusFound)
	})
	for limit, want := range map[int]int32{0: 6, 2: 3, -1: 1} {
		hops.Store(0)
		_, _, err := fetcher(t, Options{Allow: []string{address}, MaxRedirects: limit}).Image(t.Context(), base)
		if !errors.Is(err, ErrUpstream) || hops.Load() != want {
			t.Errorf("limit %d: %v after %d requests, want %d", limit, err, hops.Load(), want)
		}
	}
}

func TestRefusedAnswers(t *testing.T) {
	t.Parallel()
	photo := encode(t, "png")
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(append(photo, make([]byte, 16<<20)...)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		site http.HandlerFunc
		kind error
		text string
	}{
		{"not found", http.NotFound, ErrUpstream, "the site answered 404 Not Found"},
		{"html", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, "<html>")
		}, ErrNotImage, "not a JPEG"},
		{"svg", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/svg+xml")
			_, _ = io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg"/>`)
		}, ErrNotImage, "not a JPEG"},
		{"text that starts as a bitmap", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "BMW is a maker of cars and motorcycles")
		}, ErrNotImage, "not a JPEG"},
		{"empty", func(http.ResponseWriter, *http.Request) {}, ErrNotImage, "not a JPEG"},
		{"too large by header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000000000")
		}, ErrTooLarge, "limit of 32768 bytes"},
		{"too large without end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(photo)
			for {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}, ErrTooLarge, "limit of 32768 bytes"},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, ErrNotImage, "packed"},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "30000")
			_, _ = w.Write(photo)
			panic(http.ErrAbortHandler)
		}, ErrUpstream, "broke off"},
		{"slow header", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrTimeout, "took longer than 200ms"},
		{"slow body", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(photo)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, ErrTimeout, "took longer than 200ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, address := site(t, tt.site)
			limit := time.Minute // the others have time, on a busy machine too
			if errors.Is(tt.kind, ErrTimeout) {
				limit = 200 * time.Millisecond
			}
			data, _, err := fetcher(t, Options{Allow: []string{address}, MaxBytes: 32 << 10, Timeout: limit}).Image(t.Context(), base)
			if data != nil || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Image = %d bytes, %v; want %v with %q", len(data), err, tt.kind, tt.text)
			}
		})
	}
}

func TestNoListener(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	if _, _, err := fetcher(t, Options{Allow: []string{"127.0.0.0/8"}}).Image(t.Context(), "http://"+address); !errors.Is(err, ErrUpstream) {
		t.Errorf("%v, want %v", err, ErrUpstream)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	base, address := site(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if _, _, err := fetcher(t, Options{Allow: []string{address}}).Image(ctx, base); !errors.Is(err, ErrCanceled) {
		t.Errorf("%v, want %v", err, ErrCanceled)
	}
}

// TestNameThatPointsInside resolves a public-looking name to private addresses.
func TestNameThatPointsInside(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"127.0.0.1", "10.1.2.3", "169.254.169.254"} {
		f := fetcher(t, Options{Resolver: resolverTo(t, net.ParseIP(to).To4())})
		if _, _, err := f.Image(t.Context(), "http://photos.example.com/cat.jpg"); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want %v", to, err, ErrForbidden)
		}
	}
}

// resolverTo is a resolver whose name server gives every name one address.
func resolverTo(t *testing.T, ip net.IP) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte(ip)},
				}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	photo := encode(t, "png")
	base, address := site(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(photo) })
	_, port, _ := net.SplitHostPort(address)
	tests := []struct {
		allow string
		open  bool
	}{
		{address, true}, {"127.0.0.0/8", true}, {"0.0.0.0/0", true}, {"127.0.0.1:1", false}, {"10.0.0.0/8", false}, {"localhost:" + port, false},
	}
	for _, tt := range tests {
		_, _, err := fetcher(t, Options{Allow: []string{tt.allow}}).Image(t.Context(), base)
		if (err == nil) != tt.open {
			t.Errorf("%s: %v, want open %v", tt.allow, err, tt.open)
		}
	}
	if _, _, err := fetcher(t, Options{Allow: []string{"LOCALHOST:" + port}}).Image(t.Context(), "http://LocalHost:"+port); err != nil {
		t.Errorf("a name is allowed in any case: %v", err)
	}
	for _, wrong := range []string{"", "x", "10.0.0.0/99", ":80", "a:b", "a:99999"} {
		if _, err := New(Options{Allow: []string{wrong}}); err == nil {
			t.Errorf("allow %q is taken", wrong)
		}
	}
}

func TestProxyFromEnvironmentIsNotUsed(t *testing.T) {
	var used atomic.Bool
	proxy, _ := site(t, func(http.ResponseWriter, *http.Request) { used.Store(true) })
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	if _, _, err := fetcher(t, Options{}).Image(t.Context(), "http://10.0.0.1/"); !errors.Is(err, ErrForbidden) || used.Load() {
		t.Errorf("%v, proxy used: %v", err, used.Load())
	}
}

func FuzzSniff(f *testing.F) {
	for _, format := range []string{"jpeg", "png", "gif", "bmp"} {
		f.Add(encode(f, format))
	}
	f.Add([]byte("BM"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if kind, ok := sniff(data); ok && !strings.HasPrefix(kind, "image/") {
			t.Errorf("sniff = %q", kind)
		}
	})
}
