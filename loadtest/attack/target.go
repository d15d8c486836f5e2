package attack

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"weir.dev/weir/loadtest/scenario"
	inferencepb "weir.dev/weir/proto/inference"
	servingpb "weir.dev/weir/proto/serving"
)

// target makes the requests of a load.
type target struct {
	url, method string
	header      http.Header // of every request
	events      bool
	inputs      []scenario.Input
	n           atomic.Uint64
}

// URL is where a load goes: a path at weir's address, or the target's own URL.
func URL(t scenario.Target, weir string) string {
	if t.URL != "" {
		return t.URL
	}
	if !strings.Contains(weir, "://") {
		weir = "http://" + weir
	}
	weir = strings.TrimSuffix(weir, "/")
	version := ""
	if t.Version != 0 {
		version = "/versions/" + strconv.FormatInt(t.Version, 10)
	}
	switch t.API {
	case scenario.GRPC:
		return weir + inferencepb.GRPCInferenceService_ModelInfer_FullMethodName
	case scenario.Predict:
		return weir + servingpb.PredictionService_Predict_FullMethodName
	case scenario.Events:
		return weir + "/"
	case scenario.V2:
		return weir + "/v2/models/" + url.PathEscape(t.Model) + version + "/infer"
	default:
		return weir + "/v1/models/" + url.PathEscape(t.Model) + version + ":predict"
	}
}

func newTarget(l scenario.Load, address string) *target {
	t := &target{url: address, method: http.MethodPost, header: http.Header{}, inputs: l.Inputs}
	if len(t.inputs) == 0 {
		t.method, t.inputs = http.MethodGet, []scenario.Input{{}}
	}
	t.header.Set("User-Agent", "weir-load")
	if l.Target.API.Calls() {
		t.header.Set("Te", "trailers")
	}
	switch {
	case l.Target.URL != "":
	case l.Target.API == scenario.Events:
		t.events = true
		for name, value := range map[string]string{
			"Specversion": "1.0", "Type": "dev.weir.predict", "Source": "/weir/load",
			"Model": l.Target.Model, "Modeltag": l.Target.Tag, "Modelversion": number(l.Target.Version),
		} {
			if value != "" {
				t.header.Set("Ce-"+name, value)
			}
		}
	case l.Target.Tag != "":
		t.header.Set("X-Weir-Tag", l.Target.Tag)
	}
	return t
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// next returns the next request's body and header, in turn.
func (t *target) next() (body []byte, header http.Header) {
	in := t.inputs[(t.n.Add(1)-1)%uint64(len(t.inputs))]
	header = t.header.Clone()
	if in.ContentType != "" {
		header.Set("Content-Type", in.ContentType)
	}
	for name, value := range in.Header {
		header.Set(name, value)
	}
	if t.events {
		header.Set("Ce-Id", rand.Text())
	}
	return in.Body, header
}
