package test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"weir.dev/weir/internal/harness"

	"weir.dev/weir/knative"
)

// digitsBody is one 8x8 picture of nothing.
var digitsBody = func() []byte {
	rows := strings.TrimSuffix(strings.Repeat("[[0],[0],[0],[0],[0],[0],[0],[0]],", 8), ",")
	return []byte(`{"instances":[[` + rows + `]]}`)
}()

// revisionOf asks digits once and says which revision answered.
func revisionOf(t *testing.T, w *weir, path string, h http.Header) string {
	t.Helper()
	var a map[string]any
	return postJSON(t, w.URL(path), "application/json", digitsBody, h, &a).Get(knative.HeaderRevision)
}

func TestModelsAreListed(t *testing.T) {
	w := sharedWeir(t)
	var v1 struct {
		Models []struct {
			Name      string
			Revisions []struct {
				Name    string
				Tags    []string
				Version int
				Percent int
				Images  bool
			}
		}
	}
	get(t, w.URL("/v1/models"), &v1)
	var names []string
	for _, m := range v1.Models {
		names = append(names, m.Name)
		if m.Name != "imagenet" {
			continue
		}
		if len(m.Revisions) != 2 {
			t.Fatalf("imagenet has %d revisions, want 2: %+v", len(m.Revisions), m.Revisions)
		}
		for _, r := range m.Revisions {
			want := map[string][2]int{"lite0": {1, 100}, "lite2": {2, 0}}[r.Tags[0]]
			if [2]int{r.Version, r.Percent} != want || !r.Images {
				t.Errorf("revision %+v, want version and percent %v", r, want)
			}
		}
	}
	if got := strings.Join(names, " "); got != "digits embed imagenet" {
		t.Errorf("models are %q", got)
	}
	var v2 struct{ Models []any }
	if get(t, w.URL("/v2/models"), &v2); len(v2.Models) != 3 {
		t.Errorf("/v2/models lists %d models, want 3", len(v2.Models))
	}
}

func get(t *testing.T, url string, into any) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := do(t, req)
	if a.status != http.StatusOK {
		t.Fatalf("GET %s: %d: %.300s", url, a.status, a.body)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return a
}

// TestARevisionIsReachedEveryWay asks for lite2 in each way that there is.
func TestARevisionIsReachedEveryWay(t *testing.T) {
	w := sharedWeir(t)
	photo := sample(t, "coffee.png")
	for _, c := range []struct {
		name, path string
		header     http.Header
		want       string
	}{
		{"by traffic", "/v1/models/imagenet:predict", nil, "imagenet-lite0"},
		{"by version", "/v1/models/imagenet/versions/2:predict", nil, "imagenet-lite2"},
		{"by label", "/v1/models/imagenet/labels/lite2:predict", nil, "imagenet-lite2"},
		{"by X-Weir-Tag", "/v1/models/imagenet:predict", http.Header{"X-Weir-Tag": {"lite2"}}, "imagenet-lite2"},
		{"by Knative-Serving-Tag", "/v1/models/imagenet:predict", http.Header{"Knative-Serving-Tag": {"lite2"}}, "imagenet-lite2"},
		{"by the tag's address", "/v1/models/imagenet:predict", http.Header{"Host": {w.Host("lite2-imagenet")}}, "imagenet-lite2"},
		{"by the service's address", "/v1/models/imagenet:predict", http.Header{"Host": {w.Host("imagenet")}}, "imagenet-lite0"},
		{"by an event's modeltag", "/", eventHeaders("lite2"), "imagenet-lite2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a struct{ Predictions []classes }
			h := postJSON(t, w.URL(c.path), "image/png", photo, c.header, &a)
			if got := h.Get(knative.HeaderRevision); got != c.want {
				t.Errorf("answered by %q, want %q", got, c.want)
			}
		})
	}
}

// TestPercentages splits digits 70:30 and checks 1,000 answers with a chi-square test, and that sessions stick.
func TestPercentages(t *testing.T) {
	w := ownWeir(t, append([]string{"-f", harness.Path("knative/20-digits.yaml")}, harness.Quick...)...)
	w.must(t, "deploy", "digits", "--model", harness.Path("build/models/digits/1"), "--version", "2", "--tag", "next", "--traffic", "30")

	next := revisionOf(t, w, "/v1/models/digits:predict", http.Header{"X-Weir-Tag": {"next"}})
	checkSplit(t, w, "digits", next, 30, digitsBody)
}

// checkSplit asks a model of two revisions, of which next has a share of percent, and checks 1,000 answers with a
// chi-square test, and that sessions stick.
func checkSplit(t *testing.T, w *weir, model, next string, percent float64, body []byte) {
	t.Helper()
	ask := func(h http.Header) string {
		var a map[string]any
		return postJSON(t, w.URL("/v1/models/"+model+":predict"), "application/json", body, h, &a).Get(knative.HeaderRevision)
	}
	counts := map[string]int{}
	for range 1000 {
		counts[ask(nil)]++
	}
	if len(counts) != 2 {
		t.Fatalf("answers came from %v, want two revisions", counts)
	}
	want := 10 * percent
	chi := math.Pow(float64(counts[next])-want, 2)/want + math.Pow(want-float64(counts[next]), 2)/(1000-want)
	// 15.1 is passed by chance once in 10,000 runs (one degree of freedom).
	if chi > 15.1 {
		t.Errorf("%v with %v %% has chi-square %.1f", counts, percent, chi)
	}

	seen := map[string]bool{}
	for s := range 20 {
		h := http.Header{"X-Weir-Session": {fmt.Sprint("caller ", s)}}
		first := ask(h)
		seen[first] = true
		for range 5 {
			if got := ask(h); got != first {
				t.Errorf("session %d went to %s, then to %s", s, first, got)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("20 sessions all went to %v", seen)
	}
}
