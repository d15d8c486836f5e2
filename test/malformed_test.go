package test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
)

// bad is a request that a real model has to survive, and what its answer says.
type bad struct {
	name, path, contentType string
	body                    []byte
	status                  int
	says                    string
}

// TestMalformedRequestsReachRealModels sends what could hurt TensorFlow or the servers before it: each gets its status and
// an error that says what was expected, no process dies of it, and the next request is served. The tables of what needs
// no model to be refused are functions/serve's and router's.
func TestMalformedRequestsReachRealModels(t *testing.T) {
	w := ownWeir(t, append([]string{"-f", harness.Path("knative/20-digits.yaml"), "-f", harness.Path("knative/30-imagenet-lite0.yaml"),
		"--autoscaler", "stable-window=10m"}, "--autoscaler", "initial-scale=1")...)
	photo := sample(t, "china.jpg")
	await(t, time.Minute, "both models are ready", func() bool {
		return w.revision(t, "digits", "").Ready == 1 && w.revision(t, "imagenet", "").Ready == 1
	})
	pids := w.replicas(t)
	slices.Sort(pids)
	const (
		digits, imagenet = "/v1/models/digits:predict", "/v1/models/imagenet:predict"
		infer            = "/v2/models/digits/infer"
		js               = "application/json"
	)
	rows := func(values string) []byte { return []byte(`{"instances":` + values + `}`) }
	square := func(v string) string {
		row := "[" + strings.TrimSuffix(strings.Repeat("["+v+"],", 8), ",") + "]"
		return "[" + strings.TrimSuffix(strings.Repeat(row+",", 8), ",") + "]"
	}
	v2 := func(shape, data string) []byte {
		return fmt.Appendf(nil, `{"inputs":[{"name":"images","datatype":"FP32","shape":%s,"data":%s}]}`, shape, data)
	}
	encoded := func(b []byte) []byte {
		return fmt.Appendf(nil, `{"signature_name":"image_bytes","instances":[{"b64":%q}]}`, base64.StdEncoding.EncodeToString(b))
	}
	tests := []bad{
		// A wrong rank that reached TensorFlow would abort the process.
		{"V1: rank 1", digits, js, rows("[1,2,3]"), 400, "shape"},
		{"V1: rank 0", digits, js, []byte(`{"inputs":1}`), 400, "shape"},
		{"V1: rank 5", digits, js, rows("[[" + square("0") + "]]"), 400, "shape"},
		{"V1: wrong side", digits, js, rows("[[[[0],[0]]]]"), 400, "shape"},
		{"V1: ragged", digits, js, rows("[[[[0]],[[0],[0]]]]"), 400, ""},
		{"V1: string for a float", digits, js, rows("[" + square(`"a"`) + "]"), 400, ""},
		{"V1: NaN misspelt", digits, js, rows("[" + square("nan") + "]"), 400, ""}, // NaN itself is taken, as TensorFlow Serving does
		{"V1: huge number", digits, js, rows("[" + square("1e999") + "]"), 400, ""},
		{"V1: no instances", digits, js, rows("[]"), 400, ""},
		{"V1: deep nesting", digits, js, rows(strings.Repeat("[", 100_000)), 400, ""},
		{"V1: truncated", digits, js, rows("[" + square("0"))[:60], 400, ""},
		{"V1: unknown input", digits, js, []byte(`{"inputs":{"pictures":[` + square("0") + `]}}`), 400, "images"},
		{"V1: too many instances", digits, js, rows("[" + strings.TrimSuffix(strings.Repeat(square("0")+",", 1001), ",") + "]"), 413, "1000"},
		{"V2: negative dimension", infer, js, v2("[-1,8,8,1]", "[0]"), 400, ""},
		{"V2: overflowing shape", infer, js, v2("[4611686018427387904,8,8,1]", "[0]"), 400, ""},
		{"V2: shape and data differ", infer, js, v2("[1,8,8,1]", "[0,1]"), 400, ""},
		{"V2: wrong rank", infer, js, v2("[64]", "["+strings.TrimSuffix(strings.Repeat("0,", 64), ",")+"]"), 400, "shape"},
		{"V2: other type", infer, js, bytes.Replace(v2("[1,8,8,1]", "["+strings.TrimSuffix(strings.Repeat("0,", 64), ",")+"]"), []byte("FP32"), []byte("INT8"), 1), 400, "FP32"},
		{"image: nothing", imagenet, "image/jpeg", nil, 400, "empty"},
		{"image: no image", imagenet, "image/jpeg", []byte("hello"), 400, "JPEG, PNG, GIF"},
		{"image: broken off", imagenet, "image/jpeg", photo[:3000], 400, ""},
		{"image: broken inside", imagenet, "image/jpeg", append(slices.Clone(photo[:400]), bytes.Repeat([]byte{0xff}, 4000)...), 400, ""},
		{"image: a bomb", imagenet, "image/png", pngOf(60_000, 60_000), 413, "pixels"},
		{"image: no pixels", imagenet, "image/png", pngOf(0, 0), 400, ""},
		{"image: a bomb in base64", imagenet, js, encoded(pngOf(60_000, 60_000)), 413, "pixels"},
		{"image: no image in base64", imagenet, js, encoded([]byte("hello")), 400, "JPEG, PNG, GIF"},
		{"too large", imagenet, "image/jpeg", make([]byte, 33<<20), 413, ""},
		{"WebP", imagenet, "image/webp", []byte("RIFF"), 415, "image/jpeg"},
		{"unknown model", "/v1/models/nobody:predict", js, rows("[1]"), 404, "digits"},
		{"unknown version", "/v1/models/digits/versions/9:predict", js, rows("[1]"), 404, "1"},
		{"unknown label", "/v1/models/imagenet/labels/none:predict", "image/jpeg", photo, 404, "lite0"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, w.URL(c.path), bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", c.contentType)
			a := do(t, req)
			var e struct{ Error string }
			if err := json.Unmarshal(a.body, &e); err != nil || a.status != c.status || e.Error == "" || !strings.Contains(e.Error, c.says) {
				t.Errorf("%d %.300s, want %d and an error that says %q", a.status, a.body, c.status, c.says)
			}
		})
	}
	t.Run("lying Content-Length", func(t *testing.T) {
		if got := lying(t, w.Addr, digits); !strings.Contains(got, " 400 ") {
			t.Errorf("answered %q, want 400", got)
		}
	})
	image(t, w.URL(imagenet), "image/jpeg", photo, nil)
	revisionOf(t, w, digits, nil)
	after := w.replicas(t)
	slices.Sort(after)
	if !slices.Equal(pids, after) {
		t.Errorf("replicas were %v and are %v: one died", pids, after)
	}
}

// pngOf is a small PNG that claims a size.
func pngOf(width, height uint32) []byte {
	chunk := func(kind string, data []byte) []byte {
		c := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		c = append(append(c, kind...), data...)
		return binary.BigEndian.AppendUint32(c, crc32.ChecksumIEEE(c[4:]))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	png := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(head, 8, 2, 0, 0, 0))...)
	return append(append(png, chunk("IDAT", []byte("x\x9c\x03\x00\x00\x00\x00\x01"))...), chunk("IEND", nil)...)
}

// lying promises more of a body than it sends, and returns the answer's first line.
func lying(t *testing.T, addr, path string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"instances\":", path)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return line
}
