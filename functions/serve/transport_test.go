package serve

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/functions/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const goodBody = `{"instances":[[1,2,3]]}`

// listen serves on a loopback port until the test ends.
func listen(t *testing.T, s *Server) string {
	t.Helper()
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// raw writes bytes to a connection and reads the answer to the end. Half closes its side after them.
func raw(t *testing.T, addr, request string, half bool) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if half {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	return readAnswer(t, conn)
}

// TestLyingContentLength sends bodies that are not as long as they say, over raw connections, and then a good request.
func TestLyingContentLength(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{Limits: Limits{Body: 1 << 16, Read: 500 * time.Millisecond}})
	s.SetModel(toy())
	addr := listen(t, s)
	header := func(path, more string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + more + "\r\n"
	}
	long := fmt.Sprintf("Content-Length: %d\r\n", len(goodBody)+10)
	tests := []struct {
		name, request string
		half          bool
		status        int
		want          string
	}{
		{"too long, the client stops sending", header("/v1/models/toy:predict", long) + goodBody, true, 400, "shorter than its Content-Length"},
		{"too long, the client waits", header("/v1/models/toy:predict", long) + goodBody, false, 408, "did not arrive within 500ms"},
		{"too long, the client waits and keeps the connection", strings.Replace(header("/v1/models/toy:predict", long), "Connection: close\r\n", "", 1) + goodBody, false, 408, "did not arrive within 500ms"},
		{"refused before the body arrived", strings.Replace(header("/v1/models/nope:predict", long), "Connection: close\r\n", "", 1), false, 404, "not found"},
		{"too long, within a timeout", header("/v1/models/toy:predict", long+"X-Weir-Timeout: 30ms\r\n") + goodBody, false, 504, "deadline exceeded"},
		{"too short", header("/v1/models/toy:predict", "Content-Length: 5\r\n") + goodBody, true, 400, "JSON parse error"},
		{"infer, too long", header("/v2/models/toy/infer", long) + goodBody, true, 400, "shorter than its Content-Length"},
		{"event, too long", header("/", "Ce-Specversion: 1.0\r\nCe-Id: 1\r\nCe-Source: /\r\nCe-Type: t\r\n"+long) + goodBody, true, 400, "shorter than its Content-Length"},
		{"image, too long", header("/v1/models/toy:predict", "Content-Type: image/png\r\n"+long) + goodBody, true, 400, "shorter than its Content-Length"},
		{"negative", header("/v1/models/toy:predict", "Content-Length: -1\r\n") + goodBody, true, 400, ""},
		{"two lengths", header("/v1/models/toy:predict", "Content-Length: 5\r\nContent-Length: 23\r\n") + goodBody, true, 400, ""},
		{"over the limit", header("/v1/models/toy:predict", "Content-Length: 99999999999\r\n"), false, 413, "limit of 65536 bytes"},
		{"chunks over the limit", header("/v1/models/toy:predict", "Transfer-Encoding: chunked\r\n") + "11000\r\n" + strings.Repeat("a", 0x11000) + "\r\n0\r\n\r\n", false, 413, "limit of 65536 bytes"},
		{"a broken chunk", header("/v1/models/toy:predict", "Transfer-Encoding: chunked\r\n") + "zz\r\n", true, 400, "chunk"},
		{"cut chunks", header("/v1/models/toy:predict", "Transfer-Encoding: chunked\r\n") + "5\r\n{\"ins", true, 400, "body"},
		{"good", header("/v1/models/toy:predict", fmt.Sprintf("Content-Length: %d\r\n", len(goodBody))) + goodBody, false, 200, "predictions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := raw(t, addr, tt.request, tt.half)
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tt.status, body)
			}
			if resp, body := raw(t, addr, tests[len(tests)-1].request, false); resp.StatusCode != http.StatusOK {
				t.Errorf("the next good request: status %d: %s", resp.StatusCode, body)
			}
		})
	}
}

func TestCompressed(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	pack := func(body string, deflate bool) string {
		var b bytes.Buffer
		var z io.WriteCloser = gzip.NewWriter(&b)
		if deflate {
			z = zlib.NewWriter(&b)
		}
		if _, err := io.WriteString(z, body); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	bomb := pack(`{"foo":"`+strings.Repeat("a", 10<<20)+`"}`, false)
	for _, tt := range []struct {
		name, encoding, body string
		status               int
		want                 string
	}{
		{"gzip", "gzip", pack(goodBody, false), 200, "predictions"},
		{"deflate", "deflate", pack(goodBody, true), 200, "predictions"},
		{"identity", "identity", goodBody, 200, "predictions"},
		{"a bomb", "gzip", bomb, 413, "limit of 65536 bytes"},
		{"cut", "gzip", pack(goodBody, false)[:20], 400, "no valid gzip"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := call{path: "/v1/models/toy:predict", header: map[string]string{"Content-Encoding": tt.encoding}, body: tt.body}.do(t, h)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
}

// TestModelErrors gives each error of a model its status and keeps what is internal from the client.
func TestModelErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		err    error
		status int
		want   string
		retry  string
	}{
		{"invalid argument", model.Errorf(model.InvalidArgument, "expected more"), 400, "expected more", ""},
		{"not found", model.Errorf(model.NotFound, "no such"), 404, "no such", ""},
		{"too large", model.Errorf(model.TooLarge, "over 50 megapixels"), 413, "over 50 megapixels", ""},
		{"unsupported media", model.Errorf(model.UnsupportedMedia, "no images"), 415, "no images", ""},
		{"exhausted", model.Errorf(model.ResourceExhausted, "queue is full"), 429, "queue is full", "1"},
		{"unavailable", fmt.Errorf("wrapped: %w", model.Errorf(model.Unavailable, "closing")), 503, "closing", "1"},
		{"internal", &model.Error{Code: model.Internal, Message: "secret"}, 500, "internal error", ""},
		{"unknown", errors.New("secret"), 500, "internal error", ""},
		{"canceled", context.Canceled, 499, "client closed", ""},
		{"deadline", fmt.Errorf("run: %w", context.DeadlineExceeded), 504, "deadline exceeded", ""},
	}
	calls := map[string]call{
		"v1":    {path: "/v1/models/toy:predict", body: goodBody},
		"v2":    {path: inferPath, body: `{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`},
		"image": {path: "/v1/models/toy:predict", header: map[string]string{"Content-Type": "image/png"}, body: "x"},
		"event": {path: "/", header: eventHeader(), body: goodBody},
	}
	for _, tt := range tests {
		for name, c := range calls {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				m := toy()
				m.PredictFn = func(context.Context, model.Request) (model.Response, error) { return model.Response{}, tt.err }
				s := newServer(t, Options{})
				s.SetModel(m)
				w := c.do(t, s.Handler())
				body := w.Body.String()
				if w.Code != tt.status || !strings.Contains(body, tt.want) || strings.Contains(body, "secret") || w.Header().Get("Retry-After") != tt.retry {
					t.Errorf("status %d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), body)
				}
			})
		}
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	m := toy()
	m.PredictFn = func(ctx context.Context, _ model.Request) (model.Response, error) {
		<-ctx.Done()
		return model.Response{}, ctx.Err()
	}
	s := newServer(t, Options{})
	s.SetModel(m)
	for _, timeout := range []string{"5ms", "0.005"} {
		w := call{path: "/v1/models/toy:predict", header: map[string]string{HeaderTimeout: timeout}, body: goodBody}.do(t, s.Handler())
		if w.Code != http.StatusGatewayTimeout {
			t.Errorf("%s: status %d: %s", timeout, w.Code, w.Body)
		}
	}
}

// TestPanic answers a model's panic and goes on.
func TestPanic(t *testing.T) {
	t.Parallel()
	m := toy()
	m.PredictFn = func(context.Context, model.Request) (model.Response, error) { panic("secret") }
	s := newServer(t, Options{})
	s.SetModel(m)
	for range 2 {
		w := call{path: "/v1/models/toy:predict", body: goodBody}.do(t, s.Handler())
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := toyServer(t)
	call{path: "/v1/models/toy:predict", body: goodBody}.do(t, s.Handler())
	call{path: inferPath, body: "{"}.do(t, s.Handler())
	got := get(t, s, "/metrics").Body.String()
	for _, want := range []string{
		`weir_function_requests_total{api="v1_predict",model="toy",status="2xx"} 1`,
		`weir_function_requests_total{api="v2_infer",model="toy",status="4xx"} 1`,
		`weir_function_request_seconds_count{api="v2_infer",model="toy",status="4xx"} 1`,
		`weir_function_in_flight{model="toy"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]target{
		"/":                                      {api: apiEvents},
		"/v1/models/":                            {api: apiV1List},
		"/v1/models/a":                           {api: apiV1Status, model: "a"},
		"/v1/models/a/versions/1":                {api: apiV1Status, model: "a", version: "1"},
		"/v1/models/a/labels/l/metadata":         {api: apiV1Metadata, model: "a", label: "l"},
		"/v1/models/metadata":                    {api: apiV1Status, model: "metadata"},
		"/v1/models/a/versions/1/labels/l":       {api: apiNone},
		"/v1/models/a/b":                         {api: apiNone},
		"/v1/models/a/versions/:predict":         {api: apiNone},
		"/v2/models/a/versions/1/ready":          {api: apiV2Model, model: "a", version: "1"},
		"/v2/models/a/labels/l":                  {api: apiNone},
		"/v2/models/infer":                       {api: apiV2Metadata, model: "infer"},
		"/v1":                                    {api: apiNone},
		"/v1/models/a/versions/1:classify":       {api: apiV1Classify, model: "a", version: "1"},
		"/v1/models/a/labels/l:regress":          {api: apiV1Regress, model: "a", label: "l"},
		"/v1/models//versions/1:predict":         {api: apiNone},
		"/v1/models/a:predict:predict":           {api: apiV1Predict, model: "a:predict"},
		"/v1/models/a/versions/1/metadata/x":     {api: apiNone},
		"/v1/models/a/versions/1/labels:predict": {api: apiNone},
	} {
		if got := parsePath(path); got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
}

func readAnswer(t *testing.T, conn net.Conn) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}
