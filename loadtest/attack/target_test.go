package attack

import (
	"testing"

	"weir.dev/weir/loadtest/scenario"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		target        scenario.Target
		address, want string
	}{
		{scenario.Target{Model: "m", API: scenario.Bytes}, "127.0.0.1:8080", "http://127.0.0.1:8080/v1/models/m:predict"},
		{scenario.Target{Model: "m", API: scenario.JSON, Version: 2}, "http://h/", "http://h/v1/models/m/versions/2:predict"},
		{scenario.Target{Model: "m", API: scenario.V2, Version: 2}, "h:1", "http://h:1/v2/models/m/versions/2/infer"},
		{scenario.Target{Model: "m", API: scenario.Events}, "h:1", "http://h:1/"},
		{scenario.Target{Model: "m", API: scenario.GRPC, Version: 2}, "h:1", "http://h:1/inference.GRPCInferenceService/ModelInfer"},
		{scenario.Target{Model: "m", API: scenario.Predict}, "h:1", "http://h:1/tensorflow.serving.PredictionService/Predict"},
		{scenario.Target{URL: "http://h/x"}, "ignored", "http://h/x"},
	} {
		if got := URL(tt.target, tt.address); got != tt.want {
			t.Errorf("%+v at %s: %s, want %s", tt.target, tt.address, got, tt.want)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	in := []scenario.Input{{ContentType: "application/json", Body: []byte("1"), Header: map[string]string{"X-Own": "2"}}}
	tagged := newTarget(scenario.Load{Target: scenario.Target{Model: "m", API: scenario.JSON, Tag: "next"}, Inputs: in}, "http://h")
	if _, h := tagged.next(); h.Get("X-Weir-Tag") != "next" || h.Get("Content-Type") != "application/json" || h.Get("X-Own") != "2" {
		t.Errorf("headers %v", h)
	}
	events := newTarget(scenario.Load{Target: scenario.Target{Model: "m", API: scenario.Events, Version: 3}, Inputs: in}, "http://h")
	_, a := events.next()
	_, b := events.next()
	if a.Get("Ce-Model") != "m" || a.Get("Ce-Modelversion") != "3" || a.Get("Ce-Type") != "dev.weir.predict" || a.Get("Ce-Id") == b.Get("Ce-Id") {
		t.Errorf("events %v and %v: want the model, the version and an id of each one's own", a, b)
	}
	if get := newTarget(scenario.Load{Target: scenario.Target{URL: "http://h"}}, "http://h"); get.method != "GET" {
		t.Errorf("without an input %s, want GET", get.method)
	}
}
