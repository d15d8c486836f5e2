package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

// asked is a prediction that the page asked for.
type asked struct {
	Model, Tag, Type string
	Body             []byte
}

// fakeRouter stands for the router: the pages from this package, everything they call written by hand.
type fakeRouter struct {
	url string
	// predict answers a prediction; if nil, answer does.
	predict http.HandlerFunc
	// models answers the list of models; if nil, it is modelList.
	models http.HandlerFunc

	mu      sync.Mutex
	asked   []asked
	fetched []string
	// streams are the open event streams; a closed one ends.
	streams []chan []byte
	// refuse says that /home/live answers 503.
	refuse bool
}

// newFakeRouter starts one on a free port; change it before the page asks. Its sample is "ring.png".
func newFakeRouter(t testing.TB) *fakeRouter {
	t.Helper()
	pages, err := newHandler(pages, fstest.MapFS{
		"ring.png":  {Data: picture(t, 480, 320)},
		"ring2.png": {Data: picture(t, 300, 400)},
		"samples.json": {Data: []byte(`[{"file": "ring.png", "title": "A ring", "expected": "hoop", "licence": "CC0", "source": "drawn"},
			{"file": "ring2.png", "title": "Another ring", "licence": "CC0", "source": "https://example.org/ring"}]`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeRouter{}
	mux := http.NewServeMux()
	mux.Handle("/home", pages)
	mux.Handle("/home/", pages)
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		models := f.models
		f.mu.Unlock()
		if models != nil {
			models(w, r)
			return
		}
		write(w, modelList)
	})
	mux.HandleFunc("GET /v1/models/{model}/metadata", func(w http.ResponseWriter, _ *http.Request) { write(w, digitsMetadata) })
	mux.HandleFunc("POST /v1/models/{call}", f.servePredict)
	mux.HandleFunc("POST /home/fetch", f.serveFetch(picture(t, 300, 300)))
	mux.HandleFunc("GET /home/live", f.serveLive)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	t.Cleanup(f.endStreams)
	f.url = s.URL
	return f
}

func (f *fakeRouter) servePredict(w http.ResponseWriter, r *http.Request) {
	name, _ := strings.CutSuffix(r.PathValue("call"), ":predict")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.asked = append(f.asked, asked{name, r.Header.Get("X-Weir-Tag"), r.Header.Get("Content-Type"), body})
	predict := f.predict
	f.mu.Unlock()
	if predict != nil {
		predict(w, r)
		return
	}
	answer(w, name, r.Header.Get("X-Weir-Tag"))
}

// answer is what the fake models say.
func answer(w http.ResponseWriter, name, tag string) {
	w.Header().Set("Server-Timing", "queue;dur=12.5")
	switch name {
	case "imagenet":
		w.Header().Set("X-Weir-Revision", map[string]string{"": "imagenet-00001", "lite0": "imagenet-00001", "lite2": "imagenet-00002"}[tag])
		w.Header().Set("X-Weir-Cold-Start", map[bool]string{true: "true"}[tag == "lite2"])
		write(w, `{"predictions": [{"labels": ["tiger cat", "Egyptian cat", "tabby, tabby cat", "lynx, catamount", "<b>hoop</b>"],
			"classes": [282, 285, 281, 287, 1], "scores": [0.5213, 0.2251, 0.1402, 0.0121, 0.0049]}]}`)
	case "embed":
		w.Header().Set("X-Weir-Revision", "embed-00001")
		v := make([]float64, 1280)
		for i := range v {
			v[i] = math.Round(1000*math.Max(0, math.Sin(float64(i)*1.7)*math.Cos(float64(i)/90))) / 1000
		}
		text, _ := json.Marshal(map[string]any{"predictions": [][]float64{v}})
		write(w, string(text))
	default:
		w.Header().Set("X-Weir-Revision", "digits-00001")
		write(w, `{"predictions": [[0.91, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]]}`)
	}
}

// serveFetch gives picture for every address but those of a private host.
func (f *fakeRouter) serveFetch(picture []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct{ URL string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" {
			server.WriteError(w, &server.Error{Status: http.StatusBadRequest, Message: "expected {\"url\": …}"})
			return
		}
		f.mu.Lock()
		f.fetched = append(f.fetched, body.URL)
		f.mu.Unlock()
		if strings.Contains(body.URL, "private") {
			server.WriteError(w, &server.Error{Status: http.StatusBadRequest, Message: "address 10.0.0.1 is not public"})
			return
		}
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(picture)
	}
}

func (f *fakeRouter) serveLive(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.refuse {
		f.mu.Unlock()
		server.WriteError(w, &server.Error{Status: http.StatusServiceUnavailable, Message: "no"})
		return
	}
	events := make(chan []byte, 400)
	f.streams = append(f.streams, events)
	f.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case e, open := <-events:
			if !open {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", e)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// send sends services to every page as of a time in ms.
func (f *fakeRouter) send(t testing.TB, ms int64, services []knative.ServiceStatus) {
	t.Helper()
	event, err := json.Marshal(map[string]any{"time": ms, "services": services})
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		s <- event
	}
}

// streamCount says how many streams were opened since the last endStreams.
func (f *fakeRouter) streamCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams)
}

// endStreams breaks every stream.
func (f *fakeRouter) endStreams() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		close(s)
	}
	f.streams = nil
}

// set changes the fake while the page runs.
func (f *fakeRouter) set(change func(*fakeRouter)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// predictions returns what was asked so far.
func (f *fakeRouter) predictions() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func write(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text)
}

const modelList = `{"models": [
	{"name": "digits", "revisions": [{"name": "digits-00001", "tags": ["v1"], "version": 1, "percent": 100, "ready": true, "images": false}]},
	{"name": "embed", "revisions": [{"name": "embed-00001", "version": 1, "percent": 100, "ready": true, "images": true}]},
	{"name": "imagenet", "revisions": [
		{"name": "imagenet-00001", "tags": ["lite0"], "version": 1, "percent": 100, "ready": true, "images": true},
		{"name": "imagenet-00002", "tags": ["lite2"], "version": 2, "percent": 0, "ready": true, "images": true}]}]}`

const digitsMetadata = `{"model_spec": {"name": "digits", "signature_name": "", "version": "1"}, "metadata": {"signature_def": {"signature_def": {
	"serving_default": {"inputs": {"image": {"dtype": "DT_FLOAT", "name": "image", "tensor_shape": {"unknown_rank": false, "dim": [
		{"size": "-1", "name": ""}, {"size": "8", "name": ""}, {"size": "8", "name": ""}, {"size": "1", "name": ""}]}}},
	"outputs": {}, "method_name": "tensorflow/serving/predict"}}}}}`

// services is a state of the fake's services at step i of a made-up day.
func services(i int) []knative.ServiceStatus {
	wave := func(period, top float64) float64 {
		return math.Max(0, math.Round(top*10*math.Sin(float64(i)*2*math.Pi/period))/10)
	}
	replicas := int(math.Ceil(wave(200, 3)))
	state := knative.StateReady
	if replicas == 0 {
		state = knative.StateIdle
	}
	return []knative.ServiceStatus{
		{Name: "digits", Model: true, Ready: true, Revisions: []knative.RevisionStatus{
			{Name: "digits-00001", Tags: []string{"v1"}, Percent: 100, Version: 1, State: knative.StateIdle}}},
		{Name: "embed", Model: true, Ready: false, Message: "revision embed-00001 failed: its replica ends at once; see weir logs embed", Revisions: []knative.RevisionStatus{
			{Name: "embed-00001", Percent: 100, Version: 1, Images: true, State: knative.StateFailed, Wanted: 1, Message: "exit status 1 three times in a row"}}},
		{Name: "imagenet", Model: true, Ready: true, Revisions: []knative.RevisionStatus{
			{Name: "imagenet-00001", Tags: []string{"lite0"}, Percent: 100, Version: 1, Images: true, State: state, Ready: replicas, Wanted: replicas + i/40%2,
				Concurrency: wave(200, 5.5), Queue: int(wave(60, 4)), RPS: wave(200, 87), Panic: i%200 > 40 && i%200 < 60},
			{Name: "imagenet-00002", Tags: []string{"lite2"}, Version: 2, Images: true, State: knative.StateStarting, Starting: 1, Wanted: 1, Queue: 1}}},
		{Name: "router", Model: false, Ready: true, Revisions: []knative.RevisionStatus{{Name: "router-00001", Percent: 100, State: knative.StateReady, Ready: 1, Wanted: 1}}},
	}
}

// picture draws a ring as PNG.
func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			d := math.Hypot(float64(x-w/2), float64(y-h/2)) / float64(h)
			c := color.RGBA{uint8(60 + 120*x/w), uint8(110 + 90*y/h), 150, 255}
			if d > 0.25 && d < 0.38 {
				c = color.RGBA{240, 180, 60, 255}
			}
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
