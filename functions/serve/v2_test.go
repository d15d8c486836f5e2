package serve

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"weir.dev/weir/functions/model"
)

const inferPath = "/v2/models/toy/infer"

func TestV2Answers(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	tests := []struct {
		name, path, body, want string
	}{
		{"flat", inferPath, `{"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","data":[1,2,3,4,5,6.5]}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"x_out","datatype":"FP32","shape":[2,3],"data":[1.0,2.0,3.0,4.0,5.0,6.5]}]}`},
		{"nested, with an id and a version", "/v2/models/toy/versions/3/infer", `{"id":"a\"b","inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","data":[[1,2,3],[4,5,6]]}]}`,
			`{"model_name":"toy","model_version":"3","id":"a\"b","outputs":[{"name":"x_out","datatype":"FP32","shape":[2,3],"data":[1.0,2.0,3.0,4.0,5.0,6.0]}]}`},
		{"data before its type", inferPath, `{"inputs":[{"data":[1,2,3],"datatype":"FP32","shape":[1,3],"name":"x"}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"x_out","datatype":"FP32","shape":[1,3],"data":[1.0,2.0,3.0]}]}`},
		{"signature by the inputs' names, outputs in order", inferPath, `{"inputs":[{"name":"a","shape":[1],"datatype":"INT32","data":[7]},{"name":"b","shape":[1],"datatype":"BYTES","data":["ü"]}],"outputs":[{"name":"b_out"},{"name":"a_out"}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"b_out","datatype":"BYTES","shape":[1],"data":["ü"]},{"name":"a_out","datatype":"INT32","shape":[1],"data":[7]}]}`},
		{"signature by the inputs' names and types", inferPath, `{"inputs":[{"name":"x","shape":[1,3],"datatype":"INT64","data":[1,2,3]}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"x_out","datatype":"INT64","shape":[1,3],"data":[1,2,3]}]}`},
		{"signature by parameter", inferPath, `{"parameters":{"signature_name":"any","other":[1]},"inputs":[{"name":"v","shape":[],"datatype":"FP64","data":[0.1]}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"v_out","datatype":"FP64","shape":[],"data":[0.1]}]}`},
		{"strings in base64", inferPath, `{"inputs":[{"name":"bytes","shape":[1],"datatype":"BYTES","parameters":{"content_type":"base64"},"data":["YWI="]}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"bytes_out","datatype":"BYTES","shape":[1],"data":["ab"]}]}`},
		{"what is not given is null", inferPath, `{"id":null,"parameters":null,"inputs":[{"name":"bool","shape":[1],"datatype":"BOOL","parameters":{"content_type":null,"binary_data_size":null},"data":[true]}],"outputs":null}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"bool_out","datatype":"BOOL","shape":[1],"data":[true]}]}`},
		{"parameters of an output are null", inferPath, `{"inputs":[{"name":"bool","shape":[1],"datatype":"BOOL","parameters":null,"data":[true]}],"outputs":[{"name":"bool_out","parameters":null}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"bool_out","datatype":"BOOL","shape":[1],"data":[true]}]}`},
		{"the best classes, and more than there are", inferPath, `{"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","data":[0.25,5,1,7,7,-1]}],"outputs":[{"name":"x_out","parameters":{"classification":2}}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"x_out","datatype":"BYTES","shape":[2,2],"data":["5.000000:1","1.000000:2","7.000000:0","7.000000:1"]}]}`},
		{"classes of a tensor without a batch", inferPath, `{"inputs":[{"name":"v","shape":[1,2],"datatype":"FP64","data":[0.1,1e9]}],"outputs":[{"name":"v_out","parameters":{"classification":9}}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"v_out","datatype":"BYTES","shape":[2],"data":["1000000000.000000:1","0.100000:0"]}]}`},
		{"classes of no rows", inferPath, `{"inputs":[{"name":"x","shape":[0,3],"datatype":"FP32","data":[]}],"outputs":[{"name":"x_out","parameters":{"classification":2}}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"x_out","datatype":"BYTES","shape":[0,2],"data":[]}]}`},
		{"a batch of single values with a dimension of 1 for each", inferPath, `{"inputs":[{"name":"bytes","shape":[2,1],"datatype":"BYTES","data":["a","b"]}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"bytes_out","datatype":"BYTES","shape":[2],"data":["a","b"]}]}`},
		{"booleans", inferPath, `{"inputs":[{"name":"bool","shape":[2],"datatype":"BOOL","data":[true,false]}]}`,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"bool_out","datatype":"BOOL","shape":[2],"data":[true,false]}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := call{path: tt.path, body: tt.body}.do(t, h)
			if got := w.Body.String(); w.Code != 200 || got != tt.want {
				t.Errorf("status %d\n got %s\nwant %s", w.Code, got, tt.want)
			}
		})
	}
}

// Some clients say of every body that it is octets: without the header of binary data it is JSON, as Triton has it.
func TestV2JSONAsOctets(t *testing.T) {
	t.Parallel()
	w := call{path: inferPath, header: map[string]string{"Content-Type": "application/octet-stream"},
		body: `{"inputs":[{"name":"bool","shape":[1],"datatype":"BOOL","data":[true]}]}`}.do(t, toyServer(t).Handler())
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("status %d, %v: %s", w.Code, w.Header(), w.Body)
	}
}

// binaryBody puts tensors' binary form behind a request's JSON.
func binaryBody(json string, tensors ...model.Tensor) (string, map[string]string) {
	var tail []byte
	for _, t := range tensors {
		tail = appendBinary(tail, t)
	}
	return json + string(tail), map[string]string{headerJSONLength: strconv.Itoa(len(json)), "Content-Type": "application/octet-stream"}
}

func TestV2Binary(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	send := func(t *testing.T, body string, header map[string]string) (string, string) {
		t.Helper()
		w := call{path: inferPath, body: body, header: header}.do(t, h)
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		got := w.Body.String()
		n := len(got)
		if v := w.Header().Get(headerJSONLength); v != "" {
			var err error
			if n, err = strconv.Atoi(v); err != nil || n > len(got) {
				t.Fatalf("%s: %q", headerJSONLength, v)
			}
			if ct := w.Header().Get("Content-Type"); ct != "application/octet-stream" {
				t.Errorf("Content-Type %q", ct)
			}
		}
		return got[:n], got[n:]
	}
	x := floats([]int64{1, 3}, 1, 2, 3)
	t.Run("both ways", func(t *testing.T) {
		t.Parallel()
		body, header := binaryBody(`{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`, x)
		json, tail := send(t, body, header)
		want := `{"model_name":"toy","model_version":"3","outputs":[{"name":"x_out","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}]}`
		if json != want || tail != string(x.Data) {
			t.Errorf("got %s %x\nwant %s %x", json, tail, want, x.Data)
		}
	})
	t.Run("JSON in, one output binary", func(t *testing.T) {
		t.Parallel()
		json, tail := send(t, `{"inputs":[{"name":"a","shape":[1],"datatype":"INT32","data":[7]},{"name":"b","shape":[1],"datatype":"BYTES","data":["hi"]}],`+
			`"outputs":[{"name":"a_out"},{"name":"b_out","parameters":{"binary_data":true}}]}`, nil)
		want := `{"model_name":"toy","model_version":"3","outputs":[{"name":"a_out","datatype":"INT32","shape":[1],"data":[7]},{"name":"b_out","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}]}`
		if json != want || tail != "\x02\x00\x00\x00hi" {
			t.Errorf("got %s %q\nwant %s", json, tail, want)
		}
	})
	t.Run("mixed in, JSON out", func(t *testing.T) {
		t.Parallel()
		body, header := binaryBody(`{"inputs":[{"name":"a","shape":[2],"datatype":"INT32","data":[7,8]},{"name":"b","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":10}}],"outputs":[{"name":"b_out"}]}`,
			texts([]int64{2}, "u", "v"))
		json, tail := send(t, body, header)
		if want := `{"model_name":"toy","model_version":"3","outputs":[{"name":"b_out","datatype":"BYTES","shape":[2],"data":["u","v"]}]}`; json != want || tail != "" {
			t.Errorf("got %s %q\nwant %s", json, tail, want)
		}
	})
	t.Run("halves only binary", func(t *testing.T) {
		t.Parallel()
		half := model.Tensor{DType: model.Float16, Shape: []int64{2}, Data: []byte{0, 0x3c, 0, 0x7e}}
		body, header := binaryBody(`{"parameters":{"binary_data_output":true},"inputs":[{"name":"fp16","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}}]}`, half)
		if _, tail := send(t, body, header); tail != string(half.Data) {
			t.Errorf("got %x", tail)
		}
		body, header = binaryBody(`{"inputs":[{"name":"fp16","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}}]}`, half)
		if w := (call{path: inferPath, body: body, header: header}).do(t, h); w.Code != 400 || !strings.Contains(w.Body.String(), "binary_data") {
			t.Errorf("FP16 in JSON: status %d: %s", w.Code, w.Body)
		}
	})
	t.Run("no numbers in JSON", func(t *testing.T) {
		t.Parallel()
		_, tail := send(t, `{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","data":[NaN,Infinity,-Infinity,null,-0,1]}]}`, nil)
		want := "\x00\x00\xc0\x7f" + "\x00\x00\x80\x7f" + "\x00\x00\x80\xff" + "\x00\x00\xc0\x7f" + "\x00\x00\x00\x80" + "\x00\x00\x80\x3f"
		if tail != want {
			t.Errorf("got %x\nwant %x", tail, want)
		}
	})
	t.Run("no numbers in an answer's JSON", func(t *testing.T) {
		t.Parallel()
		json, _ := send(t, `{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[NaN,Infinity,-Infinity]}]}`, nil)
		if want := `"data":[NaN,Infinity,-Infinity]`; !strings.Contains(json, want) {
			t.Errorf("got %s\nwant %s in it", json, want)
		}
	})
}
