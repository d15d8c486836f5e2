package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_go_proto"
	"github.com/galeone/tensorflow/tensorflow/go/core/framework/types_go_proto"
)

// imagenetRevisions are the two revisions of the sample model, with the size of the picture that each takes.
var imagenetRevisions = []struct {
	tag, version string
	size         int
}{{"lite0", "1", 224}, {"lite2", "2", 260}}

// TestEveryAPIEqualsTheReference asks both revisions about every sample photo through every API: each answer equals
// what the independent forward pass gave, and the APIs equal one another.
func TestEveryAPIEqualsTheReference(t *testing.T) {
	w := sharedWeir(t)
	conn := dialCalls(t, w.Addr)
	for _, rev := range imagenetRevisions {
		for name, ref := range references(t, "imagenet", rev.version) {
			t.Run(rev.tag+"/"+name, func(t *testing.T) {
				photo, floats, want := sample(t, name), ref.input(t), ref.output(t)
				shape := []int{1, rev.size, rev.size, 3}
				exact := map[string][]float64{
					"V1 rows":        v1(t, w, rev.version, map[string]any{"instances": nest(float32s(floats), shape)}, "predictions"),
					"V1 columns":     v1(t, w, rev.version, map[string]any{"inputs": map[string]any{"images": nest(float32s(floats), shape)}}, "outputs"),
					"V1 form":        v1As(t, w, "application/x-www-form-urlencoded", rev.version, map[string]any{"instances": nest(float32s(floats), shape)}, "predictions"),
					"V2 JSON":        v2JSON(t, w, rev.version, shape, floats),
					"V2 binary":      v2Binary(t, w, rev.version, shape, floats),
					"CloudEvents V1": eventV1(t, w, rev.tag, map[string]any{"instances": nest(float32s(floats), shape)}),
					"V2 gRPC":        v2Call(t, conn, rev.version, floatInput(shape), floats),
					"V2 gRPC stream": v2Stream(t, conn, rev.version, floatInput(shape), floats),
					"V1 gRPC":        servingCall(t, conn, rev.version, "images", floatTensor(shape, floats), ""),
				}
				agree(t, exact, want)

				top := topOf(want)
				encoded, content := bytesInput(photo)
				bytesValue := &tensor_go_proto.TensorProto{Dtype: types_go_proto.DataType_DT_STRING, TensorShape: floatTensor([]int{1}, nil).TensorShape, StringVal: [][]byte{photo}}
				images := map[string][]float64{
					"raw body":                topScores(t, rawImage(t, w, rev.tag, photo), top),
					"V1 b64":                  topScores(t, v1Base64(t, w, rev.version, photo), top),
					"V2 BYTES":                v2Image(t, w, rev.version, photo, top),
					"V2 gRPC BYTES":           scoresAt(v2Call(t, conn, rev.version, encoded, content), top),
					"V1 gRPC strings":         scoresAt(servingCall(t, conn, rev.version, "image_bytes", bytesValue, "image_bytes"), top),
					"CloudEvents binary":      topScores(t, eventImage(t, w, rev.tag, photo, false), top),
					"CloudEvents structured":  topScores(t, eventImage(t, w, rev.tag, photo, true), top),
					"raw body by tag address": topScores(t, rawImageByHost(t, w, rev.tag, photo), top),
				}
				wantTop := make([]float64, len(top))
				for i, class := range top {
					wantTop[i] = want[class]
				}
				agree(t, images, wantTop)
			})
		}
	}
}

// TestKnownPhotos asks for the classes that a person sees.
func TestKnownPhotos(t *testing.T) {
	w := sharedWeir(t)
	for name, labels := range map[string][]string{
		"chelsea.png":         {"tiger cat", "tabby", "Egyptian cat"},
		"coffee.png":          {"espresso"},
		"china.jpg":           {"palace"},
		"motorcycle_left.png": {"moped", "motor scooter"},
	} {
		for _, rev := range imagenetRevisions {
			t.Run(rev.tag+"/"+name, func(t *testing.T) {
				got := rawImage(t, w, rev.tag, sample(t, name)).Labels[0]
				for _, l := range labels {
					if strings.Contains(got, l) {
						return
					}
				}
				t.Errorf("best class is %q, want one of %q", got, labels)
			})
		}
	}
}

// TestEmbedEqualsTheReference serves a model that takes only float images through the image API.
func TestEmbedEqualsTheReference(t *testing.T) {
	w := sharedWeir(t)
	for name, ref := range references(t, "embed", "1") {
		t.Run(name, func(t *testing.T) {
			var image struct{ Predictions [][]float64 }
			postJSON(t, w.URL("/v1/models/embed:predict"), http.DetectContentType(sample(t, name)), sample(t, name), nil, &image)
			within(t, "image", image.Predictions[0], ref.output(t), 1e-3)
			var floats struct{ Predictions [][]float64 }
			body := marshal(t, map[string]any{"instances": nest(float32s(ref.input(t)), []int{1, 224, 224, 3})})
			postJSON(t, w.URL("/v1/models/embed:predict"), "application/json", body, nil, &floats)
			within(t, "floats", floats.Predictions[0], ref.output(t), 1e-4)
		})
	}
}

// agree checks each API's numbers against the reference to 1e-4 and against the other APIs to 1e-5.
func agree(t *testing.T, got map[string][]float64, want []float64) {
	t.Helper()
	var first string
	for api, g := range got {
		within(t, api, g, want, 1e-4)
		if first == "" {
			first = api
		}
		within(t, api+" against "+first, g, got[first], 1e-5)
	}
}

// topOf returns the five best classes, best first.
func topOf(scores []float64) []int {
	var top []int
	for range 5 {
		best := -1
		for i, s := range scores {
			taken := false
			for _, t := range top {
				taken = taken || t == i
			}
			if !taken && (best < 0 || s > scores[best]) {
				best = i
			}
		}
		top = append(top, best)
	}
	return top
}

// classes is one prediction of imagenet for an image.
type classes struct {
	Labels  []string
	Classes []int
	Scores  []float64
}

// topScores returns the scores in the order of the wanted classes; a class that is missing counts as 0.
func topScores(t *testing.T, c classes, want []int) []float64 {
	t.Helper()
	if len(c.Labels) != 5 || len(c.Classes) != 5 || len(c.Scores) != 5 {
		t.Errorf("prediction has %d labels, %d classes, %d scores, want 5 each", len(c.Labels), len(c.Classes), len(c.Scores))
	}
	out := make([]float64, len(want))
	for i, w := range want {
		for j, class := range c.Classes {
			if class == w {
				out[i] = c.Scores[j]
			}
		}
	}
	for i := 1; i < len(c.Scores); i++ {
		if c.Scores[i] > c.Scores[i-1] {
			t.Errorf("scores are not best first: %v", c.Scores)
		}
	}
	return out
}

func rawImage(t *testing.T, w *weir, tag string, photo []byte) classes {
	t.Helper()
	return image(t, w.URL("/v1/models/imagenet:predict"), http.DetectContentType(photo), photo, http.Header{"X-Weir-Tag": {tag}})
}

func rawImageByHost(t *testing.T, w *weir, tag string, photo []byte) classes {
	t.Helper()
	return image(t, w.URL("/v1/models/imagenet:predict"), http.DetectContentType(photo), photo, http.Header{"Host": {w.Host(tag + "-imagenet")}})
}

func v1Base64(t *testing.T, w *weir, version string, photo []byte) classes {
	t.Helper()
	body := marshal(t, map[string]any{
		"signature_name": "image_bytes",
		"instances":      []any{map[string]string{"b64": base64.StdEncoding.EncodeToString(photo)}},
	})
	return image(t, w.URL("/v1/models/imagenet/versions/"+version+":predict"), "application/json", body, nil)
}

func image(t *testing.T, url, contentType string, body []byte, h http.Header) classes {
	t.Helper()
	var a struct{ Predictions []classes }
	postJSON(t, url, contentType, body, h, &a)
	if len(a.Predictions) != 1 {
		t.Fatalf("%d predictions, want 1", len(a.Predictions))
	}
	return a.Predictions[0]
}

func v1(t *testing.T, w *weir, version string, body map[string]any, key string) []float64 {
	t.Helper()
	return v1As(t, w, "application/json", version, body, key)
}

// v1As sends JSON under a content type: curl says that of a form if it is not told another.
func v1As(t *testing.T, w *weir, contentType, version string, body map[string]any, key string) []float64 {
	t.Helper()
	var a map[string][][]float64
	postJSON(t, w.URL("/v1/models/imagenet/versions/"+version+":predict"), contentType, marshal(t, body), nil, &a)
	return a[key][0]
}

// v2Tensor is an input or output of the Open Inference Protocol.
type v2Tensor struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape,omitempty"`
	Datatype   string         `json:"datatype,omitempty"`
	Data       any            `json:"data,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

// v2Answer is an answer of the Open Inference Protocol with numbers in it.
type v2Answer struct {
	Outputs []struct {
		Name       string
		Shape      []int
		Datatype   string
		Data       []float64
		Parameters map[string]int
	}
}

func (a v2Answer) floats(name string) []float64 {
	for _, o := range a.Outputs {
		if o.Name == name {
			return o.Data
		}
	}
	return nil
}

func v2JSON(t *testing.T, w *weir, version string, shape []int, floats []byte) []float64 {
	t.Helper()
	var a v2Answer
	body := marshal(t, map[string]any{"inputs": []v2Tensor{{Name: "images", Shape: shape, Datatype: "FP32", Data: float32s(floats)}}})
	postJSON(t, w.URL("/v2/models/imagenet/versions/"+version+"/infer"), "application/json", body, nil, &a)
	return a.floats("probabilities")
}

func v2Binary(t *testing.T, w *weir, version string, shape []int, floats []byte) []float64 {
	t.Helper()
	head := marshal(t, map[string]any{
		"inputs":     []v2Tensor{{Name: "images", Shape: shape, Datatype: "FP32", Parameters: map[string]any{"binary_data_size": len(floats)}}},
		"parameters": map[string]any{"binary_data_output": true},
	})
	req, _ := http.NewRequest(http.MethodPost, w.URL("/v2/models/imagenet/versions/"+version+"/infer"), bytes.NewReader(append(head, floats...)))
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	a := do(t, req)
	n, err := strconv.Atoi(a.header.Get("Inference-Header-Content-Length"))
	if a.status != http.StatusOK || err != nil || n > len(a.body) {
		t.Fatalf("status %d, header length %q: %.300s", a.status, a.header.Get("Inference-Header-Content-Length"), a.body)
	}
	return float32s(a.body[n:])
}

func v2Image(t *testing.T, w *weir, version string, photo []byte, top []int) []float64 {
	t.Helper()
	head := marshal(t, map[string]any{
		"inputs": []v2Tensor{{
			Name: "image_bytes", Shape: []int{1}, Datatype: "BYTES",
			Parameters: map[string]any{"binary_data_size": len(photo) + 4},
		}},
		"outputs": []v2Tensor{{Name: "probabilities"}},
	})
	size := []byte{byte(len(photo)), byte(len(photo) >> 8), byte(len(photo) >> 16), byte(len(photo) >> 24)}
	body := bytes.Join([][]byte{head, size, photo}, nil)
	var a v2Answer
	postJSON(t, w.URL("/v2/models/imagenet/versions/"+version+"/infer"), "application/octet-stream", body,
		http.Header{"Inference-Header-Content-Length": {strconv.Itoa(len(head))}}, &a)
	all := a.floats("probabilities")
	if len(all) != 1000 {
		t.Fatalf("%d probabilities, want 1000", len(all))
	}
	out := make([]float64, len(top))
	for i, class := range top {
		out[i] = all[class]
	}
	return out
}

func eventV1(t *testing.T, w *weir, tag string, data map[string]any) []float64 {
	t.Helper()
	var a struct{ Predictions [][]float64 }
	postJSON(t, w.URL("/events"), "application/json", marshal(t, data), eventHeaders(tag), &a)
	return a.Predictions[0]
}

func eventHeaders(tag string) http.Header {
	return http.Header{
		"Ce-Specversion": {"1.0"}, "Ce-Id": {"test-" + tag}, "Ce-Source": {"/test"}, "Ce-Type": {"dev.weir.predict"},
		"Ce-Model": {"imagenet"}, "Ce-Modeltag": {tag},
	}
}

func eventImage(t *testing.T, w *weir, tag string, photo []byte, structured bool) classes {
	t.Helper()
	if !structured {
		return image(t, w.URL("/"), http.DetectContentType(photo), photo, eventHeaders(tag))
	}
	body := marshal(t, map[string]any{
		"specversion": "1.0", "id": "test-1", "source": "/test", "type": "dev.weir.predict", "model": "imagenet", "modeltag": tag,
		"datacontenttype": http.DetectContentType(photo), "data_base64": photo,
	})
	var e struct {
		Type, Source, ID, CausationID string
		Data                          struct{ Predictions []classes }
	}
	postJSON(t, w.URL("/events"), "application/cloudevents+json", body, nil, &e)
	if e.Type != "dev.weir.prediction" || e.ID == "" || e.ID == "test-1" || e.Source == "/test" || e.CausationID != "test-1" {
		t.Errorf("answer has type %q, id %q, source %q, causationid %q", e.Type, e.ID, e.Source, e.CausationID)
	}
	if len(e.Data.Predictions) != 1 {
		t.Fatalf("%d predictions, want 1", len(e.Data.Predictions))
	}
	return e.Data.Predictions[0]
}

// postJSON posts a body and decodes the JSON answer; anything but 200 fails the test.
func postJSON(t *testing.T, url, contentType string, body []byte, h http.Header, into any) http.Header {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	req.Host = h.Get("Host")
	req.Header.Set("Content-Type", contentType)
	a := do(t, req)
	if a.status != http.StatusOK {
		t.Fatalf("POST %s: %d: %.500s", url, a.status, a.body)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("POST %s: %v: %.500s", url, err, a.body)
	}
	return a.header
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// nest makes nested lists of a flat vector.
func nest(flat []float64, shape []int) any {
	if len(shape) == 1 {
		return flat
	}
	n := len(flat) / shape[0]
	out := make([]any, shape[0])
	for i := range out {
		out[i] = nest(flat[i*n:(i+1)*n], shape[1:])
	}
	return out
}
