package autoscale

import (
	"testing"
	"time"

	"knative.dev/serving/pkg/apis/autoscaling"
)

// TestRulesAroundZero has the cases of TestScaler and TestDisableScaleToZero in knative.dev/serving v0.50.0's
// pkg/reconciler/autoscaling/kpa/scaler_test.go, under the same labels, less those of a failing probe for the activator:
// a phase, how long it has lasted, and what scale makes of the decider's answer.
func TestRulesAroundZero(t *testing.T) {
	t.Parallel()
	const (
		grace    = 60 * time.Second
		window   = 5 * time.Minute
		paWindow = 45 * time.Second
		second   = time.Second
		never    = -1 // not scaled
	)
	timeout := 121*second + activationTimeoutBuffer
	config := func(pairs ...string) map[string]string {
		data := map[string]string{"stable-window": "5m", "scale-to-zero-grace-period": "60s"}
		for i := 0; i < len(pairs); i += 2 {
			data[pairs[i]] = pairs[i+1]
		}
		return data
	}
	tests := []struct {
		label       string
		start       int32 // replicas
		scaleTo     int32
		annotations []string
		config      map[string]string
		phase       phase
		lasted      time.Duration
		proxied     time.Duration // how long the activator has been in the path
		initialized bool
		unreachable bool
		want        int32
		scaled      int32 // never, or the number of replicas set
	}{
		{label: "waits to scale to zero (just before idle period)", start: 1, phase: active, lasted: window - second, want: 1, scaled: 1},
		{label: "waits to scale to zero (just before idle period), custom PA window", start: 1, annotations: []string{"window=45s"}, phase: active, lasted: paWindow - second, want: 1, scaled: 1},
		{label: "custom PA window, check for standard window, no probe", start: 1, annotations: []string{"window=45s"}, phase: active, lasted: window, scaled: never},
		{label: "scale to 1 waiting for idle expires", start: 10, phase: active, lasted: window - second, want: 1, scaled: 1},
		{label: "waits to scale to zero after idle period", start: 1, phase: active, lasted: window, scaled: never},
		{label: "waits to scale to zero after idle period (custom PA window)", start: 1, annotations: []string{"window=45s"}, phase: active, lasted: paWindow, scaled: never},
		{label: "can scale to zero after grace period, but 0 PA retention", start: 1, annotations: []string{"scale-to-zero-pod-retention-period=0"}, config: config("scale-to-zero-pod-retention-period", "120s"), phase: inactive, lasted: grace},
		{label: "can't scale to zero after grace period, but before last pod retention", start: 1, config: config("scale-to-zero-pod-retention-period", "120s"), phase: inactive, lasted: grace, scaled: never},
		{label: "can't scale to zero after grace period, but before last pod retention, pa defined", start: 1, annotations: []string{"scale-to-zero-pod-retention-period=120s"}, phase: inactive, lasted: grace, scaled: never},
		{label: "scale to zero after grace period, and after last pod retention", start: 1, config: config("scale-to-zero-pod-retention-period", "60s"), phase: inactive, lasted: grace},
		{label: "scale to zero after grace period", start: 1, phase: inactive, lasted: grace},
		{label: "waits to scale to zero (just before grace period)", start: 1, phase: inactive, lasted: grace - second, scaled: never},
		{label: "waits to scale to zero (just before grace period, sks short)", start: 1, phase: inactive, lasted: grace - second, proxied: grace - second, scaled: never},
		{label: "waits to scale to zero (just before grace period, sks in proxy long) and last pod timeout positive", start: 1, config: config("scale-to-zero-pod-retention-period", "42s"), phase: inactive, lasted: grace - second, proxied: grace},
		{label: "waits to scale to zero (just before grace period, sks in proxy long)", start: 1, phase: inactive, lasted: grace - second, proxied: grace},
		{label: "scale to zero with TBC=-1", start: 1, annotations: []string{"target-burst-capacity=-1"}, phase: inactive, lasted: grace},
		{label: "waits to scale to zero while activating until after deadline exceeded", start: 1, annotations: []string{"serving.knative.dev/progress-deadline=121s"}, phase: activating, lasted: timeout / 2, want: -1, scaled: never},
		{label: "scale to zero while activating after deadline exceeded", start: 1, annotations: []string{"serving.knative.dev/progress-deadline=121s"}, phase: activating, lasted: timeout + second},
		{label: "scale to zero while activating after revision deadline exceeded", start: 1, annotations: []string{"serving.knative.dev/progress-deadline=5s"}, phase: activating, lasted: 36 * second},
		{label: "the default deadline is 10 minutes", start: 1, phase: activating, lasted: 10 * time.Minute, want: -1, scaled: never},
		{label: "scale down to minScale before grace period", start: 10, annotations: []string{"min-scale=2"}, phase: inactive, lasted: grace - second, want: 2, scaled: 2},
		{label: "scale down to minScale after grace period", start: 10, annotations: []string{"min-scale=2"}, phase: inactive, lasted: grace, want: 2, scaled: 2},
		{label: "scale to zero ignore last pod retention if  revision is unreachable", start: 1, config: config("scale-to-zero-pod-retention-period", "10m"), phase: inactive, lasted: grace, unreachable: true},
		{label: "can't scale to zero if revision is unreachable, but before deadline", start: 1, config: config("scale-to-zero-pod-retention-period", "10m"), phase: inactive, lasted: grace - second, unreachable: true, scaled: never},
		{label: "ignore minScale if unreachable", start: 10, annotations: []string{"min-scale=2"}, phase: inactive, lasted: grace, unreachable: true},
		{label: "scales up", start: 1, scaleTo: 10, want: 10, scaled: 10},
		{label: "scales up to maxScale", start: 1, scaleTo: 10, annotations: []string{"max-scale=8"}, want: 8, scaled: 8},
		{label: "scale up inactive revision", start: 1, scaleTo: 10, phase: inactive, lasted: grace / 2, want: 10, scaled: 10},
		{label: "does not scale up from zero with no metrics", scaleTo: -1, phase: inactive, want: -1, scaled: never},
		{label: "scales up from zero to desired one", scaleTo: 1, want: 1, scaled: 1},
		{label: "scales up from zero to desired high scale", scaleTo: 10, want: 10, scaled: 10},
		{label: "negative scale does not scale", start: 12, scaleTo: -1, phase: active, want: -1, scaled: never},
		{label: "initial scale attained, but now time to scale down", start: 2, annotations: []string{"initial-scale=2"}, phase: active, lasted: 2 * time.Minute, initialized: true, want: 1, scaled: 1},
		{label: "haven't scaled to initial scale, override desired scale with initial scale", scaleTo: 1, annotations: []string{"initial-scale=2"}, want: 2, scaled: 2},
		{label: "initial scale reached for the first time", start: 5, scaleTo: 1, annotations: []string{"initial-scale=5"}, want: 5, scaled: 5},
		{label: "reaching initial scale zero", annotations: []string{"initial-scale=0"}, config: config("allow-zero-initial-scale", "true"), phase: inactive, scaled: never},
		{label: "unreachable revision with initialScale > 1 can scale to 0", start: 2, annotations: []string{"initial-scale=2"}, phase: active, lasted: 2 * time.Minute, unreachable: true, want: 1, scaled: 1},
		{label: "EnableScaleToZero == false and minScale == 0", start: 10, config: config("enable-scale-to-zero", "false"), phase: active, want: 1, scaled: 1},
		{label: "EnableScaleToZero == false and minScale == 2", start: 10, annotations: []string{"min-scale=2"}, config: config("enable-scale-to-zero", "false"), phase: active, want: 2, scaled: 2},
		{label: "EnableScaleToZero == false and desire pod is -1(initial value)", start: 10, scaleTo: -1, config: config("enable-scale-to-zero", "false"), phase: active, want: -1, scaled: never},
	}
	for _, tt := range tests {
		t.Run(tt.label, func(t *testing.T) {
			t.Parallel()
			data := tt.config
			if data == nil {
				data = config()
			}
			cfg, err := LoadConfig(data)
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(Options{Revision: revision(0, tt.annotations...), Config: cfg, Ready: func() (int, int) { return 0, 0 }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if tt.unreachable {
				s.SetReachable(false)
			}
			now := start()
			s.state = state{
				begun: true, phase: tt.phase, since: now.Add(-tt.lasted), replicas: tt.start, initialized: tt.initialized,
				proxied: tt.proxied > 0, proxySince: now.Add(-tt.proxied),
			}
			got, apply := s.scale(now, tt.scaleTo, &reason{})
			scaled := got
			if !apply {
				scaled = never
			}
			if got != tt.want || scaled != tt.scaled {
				t.Errorf("scale = %d, replicas set to %d, want %d and %d", got, scaled, tt.want, tt.scaled)
			}
		})
	}
}

// TestComputeActive has the rows of the table in the comment of computeActiveCondition in kpa.go.
func TestComputeActive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want      int32
		ready     int
		threshold string // min-scale, which is the threshold
		from, to  phase
	}{
		{want: 0, ready: 3, threshold: "1", from: active, to: inactive},
		{want: 0, ready: 0, threshold: "1", from: activating, to: inactive},
		{want: 2, ready: 1, threshold: "2", from: active, to: activating},
		{want: 2, ready: 1, threshold: "2", from: inactive, to: activating},
		{want: 2, ready: 2, threshold: "2", from: activating, to: active},
		{want: 2, ready: 3, threshold: "2", from: inactive, to: active},
		{want: -1, ready: 1, threshold: "2", from: inactive, to: inactive},
		{want: -1, ready: 1, threshold: "2", from: activating, to: activating},
		{want: -1, ready: 1, threshold: "2", from: active, to: activating},
		{want: -1, ready: 2, threshold: "2", from: inactive, to: inactive},
		{want: -1, ready: 2, threshold: "2", from: activating, to: active},
		{want: -1, ready: 2, threshold: "2", from: active, to: active},
		{want: -1, ready: 0, threshold: "", from: activating, to: inactive}, // initial-scale 0
	} {
		annotations := []string{autoscaling.MinScaleAnnotationKey + "=" + tt.threshold}
		if tt.threshold == "" {
			annotations = []string{autoscaling.InitialScaleAnnotationKey + "=0"}
		}
		cfg, err := LoadConfig(map[string]string{"allow-zero-initial-scale": "true"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{Revision: revision(0, annotations...), Config: cfg, Ready: func() (int, int) { return 0, 0 }})
		if err != nil {
			t.Fatal(err)
		}
		s.state.phase, s.state.initialized = tt.from, tt.threshold != ""
		s.computeActive(start(), tt.want, tt.ready)
		if s.state.phase != tt.to {
			t.Errorf("%+v: phase %d", tt, s.state.phase)
		}
		s.Close()
	}
}
