package serve

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/functions/model"
)

func FuzzNumber(f *testing.F) {
	for _, text := range numbers {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || strings.IndexByte("-0123456789", text[0]) < 0 || strings.ContainsAny(text, " \t\r\n,]") {
			return
		}
		checkNumber(t, text)
	})
}

// FuzzJSONTensor compares the tensor reader with encoding/json: what it takes has the same values and shape, and a tree
// that encoding/json reads and that is even is taken.
func FuzzJSONTensor(f *testing.F) {
	const padded = 0x80 // with room for numbers of the usual form to be read as such
	for _, body := range []string{
		`[[0.5,-1.25],[2,3.00000001],[0,-0.0]]`, `[[1,2,3,4], [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.12345678901234567]]`, `1`, `[]`, `[[],[]]`, `[1,2.5,-3e2]`, `[[1,2],[3,4]]`, `[[1,2],[3]]`, `[1,[2]]`, ` [ 1 , 2 ] `, `"a"`, `["a","b\u00e9\n"]`,
		`[{"b64":"YQ=="}]`, `{"b64":"_-8"}`, `[true,false]`, `[null]`, `[1e999]`, `[NaN,Infinity,-Infinity]`, `[01]`, `[1,]`, `[[[[[[1]]]]]]`,
		`[18446744073709551615]`, `[0.1234567890123456789012345]`, `["\ud83d\ude00","\ud83d"]`, "[\"\xff\"]", `{"a":1}`,
	} {
		for d := model.Bool; d <= model.Bytes; d++ {
			f.Add([]byte(body), uint8(d))
			f.Add([]byte(body), uint8(d)|padded)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, kind uint8) {
		d := model.DType(kind &^ padded)
		if d == model.Invalid || d > model.Bytes {
			return
		}
		if kind&padded != 0 {
			body = append(bytes.Clone(body), bytes.Repeat([]byte(" "), plainRoom)...)
		}
		s := &scanner{b: body, maxDepth: 16}
		r := newTensorReader(s, model.TensorSpec{DType: d, Shape: []int64{-1, 4}}, "t")
		err := r.value(0)
		if err == nil {
			err = s.end()
		}
		var tree any
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if err != nil {
			if model.CodeOf(err) != model.InvalidArgument {
				t.Fatalf("%q: %v is no client's error", body, err)
			}
			return
		}
		tensor := r.tensor()
		if err := tensor.Check(); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if !utf8.Valid(body) || dec.Decode(&tree) != nil {
			t.Fatalf("%q was taken, but is no JSON", body)
		}
		var want flat
		want.add(t, tree, 0)
		if diff := cmp.Diff(want.shape, tensor.Shape); diff != "" && len(want.leaves) > 0 {
			t.Fatalf("%q: shape (-want +got):\n%s", body, diff)
		}
		if int64(len(want.leaves)) != tensor.Len() {
			t.Fatalf("%q: %d elements, want %d", body, tensor.Len(), len(want.leaves))
		}
		for i, leaf := range want.leaves {
			sameLeaf(t, tensor, int64(i), leaf)
		}
	})
}

// flat is a tree of encoding/json as a tensor.
type flat struct {
	shape  []int64
	leaves []any
}

func (f *flat) add(t *testing.T, v any, level int) {
	list, ok := v.([]any)
	if !ok {
		f.leaves = append(f.leaves, v)
		if f.shape == nil {
			f.shape = []int64{}
		}
		return
	}
	if level == len(f.shape) {
		f.shape = append(f.shape, int64(len(list)))
	} else if f.shape[level] != int64(len(list)) {
		t.Fatalf("a ragged list was taken")
	}
	for _, e := range list {
		f.add(t, e, level+1)
	}
}

// sameLeaf compares one element with what encoding/json and strconv make of it.
func sameLeaf(t *testing.T, tensor model.Tensor, i int64, leaf any) {
	t.Helper()
	switch leaf := leaf.(type) {
	case string:
		if string(tensor.Strings[i]) != leaf {
			t.Fatalf("string %q, want %q", tensor.Strings[i], leaf)
		}
	case map[string]any:
		text, _ := leaf["b64"].(string)
		want, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("+", "-", "/", "_", "\n", "", "\r", "").Replace(text), "="))
		if err != nil || !bytes.Equal(tensor.Strings[i], want) {
			t.Fatalf("base64 %q gave %q: %v", text, tensor.Strings[i], err)
		}
	case bool:
		if (tensor.Data[i] == 1) != leaf {
			t.Fatalf("bool %v", tensor.Data[i])
		}
	case json.Number:
		w := &tensorWriter{}
		if err := w.element("t", tensor, i, false); err != nil {
			t.Fatal(err)
		}
		want := leaf.String()
		switch tensor.DType {
		case model.Float32:
			f, _ := strconv.ParseFloat(want, 32)
			want = string(appendFloat(nil, f, 32))
		case model.Float64:
			f, _ := strconv.ParseFloat(want, 64)
			want = string(appendFloat(nil, f, 64))
		case model.Float16, model.BFloat16:
			return // TestHalves
		}
		if want == "-0" {
			want = "0"
		}
		if string(w.b) != want {
			t.Fatalf("number %s, want %s of %s", w.b, want, leaf)
		}
	default:
		t.Fatalf("%T was taken", leaf)
	}
}

// FuzzBinaryTensor decodes binary tensor data; what is taken is consistent and is written back as it came.
func FuzzBinaryTensor(f *testing.F) {
	f.Add(uint8(model.Float32), int64(1), int64(3), []byte("\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40"))
	f.Add(uint8(model.Bytes), int64(2), int64(1), []byte("\x01\x00\x00\x00a\x00\x00\x00\x00"))
	f.Add(uint8(model.Bytes), int64(1), int64(1), []byte("\xff\xff\xff\xffa"))
	f.Add(uint8(model.Bytes), int64(1<<40), int64(1<<20), []byte("\x01\x00"))
	f.Add(uint8(model.Bool), int64(2), int64(1), []byte{1, 2})
	f.Add(uint8(model.Bool), int64(0), int64(1<<62), []byte{})
	f.Add(uint8(model.Float64), int64(1<<61), int64(1), []byte("12345678"))
	f.Fuzz(func(t *testing.T, kind uint8, a, b int64, data []byte) {
		d := model.DType(kind)
		if d == model.Invalid || d > model.Bytes {
			return
		}
		tensor, err := decodeBinary(d, []int64{a, b}, data)
		if err != nil {
			return
		}
		if err := tensor.Check(); err != nil {
			t.Fatalf("%v %d x %d of %d bytes: %v", d, a, b, len(data), err)
		}
		if back := appendBinary(nil, tensor); !bytes.Equal(back, data) {
			t.Fatalf("%x came back as %x", data, back)
		}
	})
}

// FuzzInferRequest sends whole V2 requests with binary data.
func FuzzInferRequest(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`), 0)
	f.Add([]byte(`{"inputs":[{"name":"bytes","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]}`+"\x01\x00\x00\x00a"), 97)
	f.Add([]byte(`{"id":"1","parameters":{"binary_data_output":true},"inputs":[{"data":[[1,2]],"name":"v","datatype":"FP64","shape":[1,2]}],"outputs":[{"name":"v_out"}]}`), 0)
	h := toyServer(f).Handler()
	f.Fuzz(func(t *testing.T, body []byte, length int) {
		header := map[string]string{}
		if length != 0 {
			header[headerJSONLength] = strconv.Itoa(length)
		}
		checkAnswer(t, call{path: inferPath, header: header, body: string(body)}.do(t, h))
	})
}

// FuzzPredictRequest sends whole V1 requests.
func FuzzPredictRequest(f *testing.F) {
	for _, body := range []string{goodBody, `{"signature_name":"two","inputs":{"a":[1],"b":["x"]}}`, `{"signature_name":"two","instances":[{"a":1,"b":{"b64":""}}]}`,
		`{"signature_name":"classify","context":{"a":1.5},"examples":[{"b":["x"]}]}`, `{"inputs":[[NaN,1,2]]}`, `{"instances":[{}]}`} {
		f.Add(body, false)
		f.Add(body, true)
	}
	h := toyServer(f).Handler()
	f.Fuzz(func(t *testing.T, body string, classify bool) {
		path := "/v1/models/toy:predict"
		if classify {
			path = "/v1/models/toy:classify"
		}
		w := call{path: path, body: body}.do(t, h)
		checkAnswer(t, w)
		// What is taken is JSON, but for the three numbers that TensorFlow Serving's clients send too.
		if strict := !strings.Contains(body, "NaN") && !strings.Contains(body, "Inf"); w.Code == http.StatusOK && strict && !json.Valid([]byte(body)) {
			t.Fatalf("%q was taken, but is no JSON", body)
		}
	})
}

// FuzzEvent sends CloudEvents in both modes.
func FuzzEvent(f *testing.F) {
	f.Add(`{"specversion":"1.0","id":"1","source":"/t","type":"t","data":`+goodBody+`}`, "application/cloudevents+json", "")
	f.Add(`{"specversion":"1.0","id":"1","source":"/t","type":"t","datacontenttype":"image/png","data_base64":"YQ==","model":"toy"}`, "application/cloudevents+json", "")
	f.Add(`{"specversion":"0.3","id":"1","source":"/t","type":"t","datacontentencoding":"base64","data":"YQ=="}`, "application/cloudevents+json", "")
	f.Add(`{"data":1,"specversion":"1.0","time":"x","a":{"b":[]}}`, "application/cloudevents+json", "")
	f.Add(goodBody, "application/json", "1.0")
	f.Add("jpeg", "image/jpeg", "1.0")
	f.Add("[]", "application/cloudevents-batch+json", "")
	h := toyServer(f).Handler()
	f.Fuzz(func(t *testing.T, body, contentType, version string) {
		header := map[string]string{"Content-Type": contentType}
		if version != "" {
			header = eventHeader("Content-Type", contentType, "Ce-Specversion", version)
		}
		w := call{path: "/", header: header, body: body}.do(t, h)
		checkAnswer(t, w)
		if kind := w.Header().Get("Ce-Type"); kind != "" && kind != TypePrediction && kind != TypeError {
			t.Fatalf("answer of type %q", kind)
		}
	})
}

// checkAnswer accepts an answer or a client's error, never a failure of the server.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusOK && (w.Code < 400 || w.Code >= 500) {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if !utf8.Valid(w.Body.Bytes()) && w.Header().Get(headerJSONLength) == "" {
		t.Fatalf("the answer is not UTF-8: %q", w.Body)
	}
}
