package router

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestMalformed asks wrongly in every way: the answer says what was expected, no model is woken, and the next request is
// served.
func TestMalformed(t *testing.T) {
	t.Parallel()
	var woken atomic.Int32
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Good") == "" {
			woken.Add(1)
		}
		echo(w, r)
	}), Limits: Limits{Body: 4096}})
	long := strings.Repeat("x", 5000)
	predict := "/v1/models/imagenet:predict"
	tests := []struct {
		name   string
		ask    ask
		status int
		text   string
	}{
		{"unknown path", ask{path: "/v3/models"}, 404, "expected /v1/models"},
		{"unknown model", ask{path: "/v1/models/cats:predict"}, 404, `no such model "cats": there are digits, imagenet`},
		{"unknown model, V2", ask{path: "/v2/models/cats/infer"}, 404, `no such model "cats": there are digits, imagenet`},
		{"a Service that is no model", ask{path: "/v1/models/shop:predict"}, 404, `no such model "shop"`},
		{"the router as a model", ask{path: "/v1/models/router:predict"}, 404, `no such model "router"`},
		{"long model", ask{path: "/v1/models/" + long + ":predict"}, 404, "…"},
		{"escaped model", ask{path: "/v1/models/a%20b%00:predict"}, 404, `no such model "a b\x00"`},
		{"no model", ask{path: "/v1/models/:predict"}, 404, "expected /v1/models"},
		{"unknown verb", ask{path: "/v1/models/imagenet:explain"}, 404, "expected /v1/models"},
		{"two verbs", ask{path: "/v1/models/imagenet:predict:predict"}, 404, "expected /v1/models"},
		{"unknown V1 part", ask{method: "GET", path: "/v1/models/imagenet/stats"}, 404, "expected /v1/models"},
		{"unknown V2 part", ask{path: "/v2/models/imagenet/generate"}, 404, "expected /v1/models"},
		{"label in V2", ask{path: "/v2/models/imagenet/labels/lite2/infer"}, 404, "expected /v1/models"},
		{"dots", ask{path: "/v1/models/../models/imagenet:predict"}, 404, "expected /v1/models"},
		{"double slash", ask{path: "//v1/models/imagenet:predict"}, 404, "expected /v1/models"},
		{"unknown version", ask{path: "/v1/models/imagenet/versions/9:predict"}, 404, `model "imagenet" has no version 9: there are 1, 2`},
		{"version that is no number", ask{path: "/v1/models/imagenet/versions/two:predict"}, 400, `version "two" is not a whole number`},
		{"negative version", ask{path: "/v2/models/imagenet/versions/-1/infer"}, 400, `version "-1" is not`},
		{"negative version", ask{path: "/v2/models/imagenet/versions/-1/infer"}, 400, `version "-1" is not`},
		{"huge version", ask{path: "/v2/models/imagenet/versions/99999999999999999999/infer"}, 400, "is not a whole number"},
		{"empty version", ask{path: "/v1/models/imagenet/versions/:predict"}, 400, `version "" is not`},
		{"no version", ask{method: "GET", path: "/v1/models/imagenet/versions"}, 404, "expected /v1/models"},
		{"unknown label", ask{path: "/v1/models/imagenet/labels/lite9:predict"}, 404, `model "imagenet" has no tag "lite9": there are lite0, lite2`},
		{"empty label", ask{path: "/v1/models/imagenet/labels/:predict"}, 404, "expected /v1/models"},
		{"unknown tag", ask{path: predict, header: map[string]string{HeaderTag: "lite9"}}, 404, `has no tag "lite9"`},
		{"unknown Knative tag", ask{path: predict, header: map[string]string{HeaderKnativeTag: long}}, 404, "has no tag"},
		{"a host's tag that is gone", ask{path: predict, host: "lite9-imagenet.default.localhost:8080"}, 404, `has no tag "lite9"`},
		{"unknown tag at a host", ask{path: "/", host: "imagenet.default.localhost", header: map[string]string{HeaderTag: "x"}}, 404, `has no tag "x"`},
		{"contradicting tags", ask{path: predict, header: map[string]string{HeaderTag: "lite0", HeaderKnativeTag: "lite2"}}, 400, "contradicts"},
		{"GET for a prediction", ask{method: "GET", path: predict}, 405, "takes POST, not GET"},
		{"POST for metadata", ask{path: "/v1/models/imagenet/metadata"}, 405, "takes GET, HEAD, not POST"},
		{"PUT of a model", ask{method: "PUT", path: "/v1/models/imagenet"}, 405, "takes GET, HEAD, not PUT"},
		{"DELETE of the list", ask{method: "DELETE", path: "/v1/models"}, 405, "takes GET, HEAD, not DELETE"},
		{"GET for infer", ask{method: "GET", path: "/v2/models/imagenet/infer"}, 405, "takes POST"},
		{"POST to health", ask{path: "/healthz"}, 405, "takes GET"},
		{"GET of events", ask{method: "GET", path: "/events"}, 405, "takes POST"},
		{"too large", ask{path: predict, body: long}, 413, "body is over the limit of 4096 bytes"},
		{"timeout that is none", ask{path: predict, header: map[string]string{HeaderTimeout: "soon"}}, 400, `header X-Weir-Timeout is "soon", expected a duration`},
		{"timeout zero", ask{path: predict, header: map[string]string{HeaderTimeout: "0"}}, 400, "expected more than zero"},
		{"negative timeout", ask{path: predict, header: map[string]string{HeaderTimeout: "-1s"}}, 400, "expected more than zero"},
		{"timeout NaN", ask{path: predict, header: map[string]string{HeaderTimeout: "NaN"}}, 400, "expected a duration"},
		{"fetch without JSON", ask{path: "/home/fetch", body: "url=x"}, 415, "expected Content-Type application/json"},
		{"fetch without URL", ask{path: "/home/fetch", header: map[string]string{"Content-Type": "application/json"}, body: "{}"}, 400, `expected {"url"`},
		{"fetch, truncated", ask{path: "/home/fetch", header: map[string]string{"Content-Type": "application/json"}, body: `{"url":`}, 400, `expected {"url"`},
		{"fetch, wrong type", ask{path: "/home/fetch", header: map[string]string{"Content-Type": "application/json"}, body: `{"url":5}`}, 400, `expected {"url"`},
		{"fetch, too large", ask{path: "/home/fetch", header: map[string]string{"Content-Type": "application/json"}, body: `"` + strings.Repeat("x", maxFetchRequest)}, 413, "over the limit"},
	}
	if len(tests) < 30 {
		t.Fatalf("%d malformed requests, want at least 30", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := f.do(t, tt.ask)
			if got.status != tt.status || !strings.Contains(got.errorText(), tt.text) {
				t.Errorf("%d %s, want %d with %q", got.status, got.body, tt.status, tt.text)
			}
			if got.header.Get("Content-Type") != "application/json" || len(got.body) > 1000 {
				t.Errorf("answer is %s of %d bytes", got.header.Get("Content-Type"), len(got.body))
			}
			if tt.status == 405 && got.header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
			f.do(t, ask{path: predict, header: map[string]string{"Good": "1"}}).seen(t)
		})
	}
	if n := woken.Load(); n != 0 {
		t.Errorf("%d malformed requests reached a model", n)
	}
}

// TestMalformedBytes writes what no HTTP client would.
func TestMalformedBytes(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo), Limits: Limits{Body: 4096}})
	const head = "POST /v1/models/imagenet:predict HTTP/1.1\r\nHost: x\r\n"
	tests := []struct {
		name, send string
		status     int
		text       string
	}{
		{"Content-Length lies", head + "Content-Length: 100\r\n\r\nshort", 400, "body ended before it was whole"},
		{"Content-Length too large", head + "Content-Length: 999999999999\r\n\r\n", 413, "over the limit of 4096"},
		{"negative Content-Length", head + "Content-Length: -1\r\n\r\n", 400, ""},
		{"two lengths", head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, ""},
		{"chunks end early", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", 400, "body ended before it was whole"},
		{"broken chunk", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "body ended before it was whole"},
		{"chunks without end", head + "Transfer-Encoding: chunked\r\n\r\n2000\r\n" + strings.Repeat("x", 0x2000) + "\r\n0\r\n\r\n", 413, "over the limit of 4096"},
		{"no host", "POST / HTTP/1.1\r\n\r\n", 400, ""},
		{"no HTTP", "hello\r\n\r\n", 400, ""},
		{"event that ends early", "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 50\r\n\r\n{\"specversion\"", 400, "body ended before it was whole"},
		{"event without end", "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + strings.Repeat(" ", 0x2000) + "\r\n0\r\n\r\n", 413, "over the limit of 4096"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, tt.send); err != nil {
				t.Fatal(err)
			}
			// No more will be sent, but the answer is waited for.
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != tt.status || !strings.Contains(string(body), tt.text) {
				t.Errorf("%d %s, want %d with %q", res.StatusCode, body, tt.status, tt.text)
			}
		})
	}
	f.do(t, ask{path: "/v1/models/imagenet:predict"}).seen(t)
}
