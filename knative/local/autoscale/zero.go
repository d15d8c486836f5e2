package autoscale

import (
	"fmt"
	"time"

	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
	"knative.dev/serving/pkg/deployment"
	kparesources "knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
	aresources "knative.dev/serving/pkg/reconciler/autoscaling/resources"
)

const (
	// scaleUnknown and activationTimeoutBuffer are those of kpa/scaler.go.
	scaleUnknown            = -1
	activationTimeoutBuffer = 30 * time.Second
)

// phase is the PodAutoscaler's condition Active.
type phase int

const (
	activating phase = iota // Active=Unknown: replicas were asked for and are not there yet
	active                  // Active=True
	inactive                // Active=False: no traffic, or it could not be activated
)

// state is what on Knative stands in the PodAutoscaler's status, the Deployment's replicas and the ServerlessService.
type state struct {
	begun    bool
	phase    phase
	since    time.Time // when the phase began
	replicas int32     // the Deployment's spec.replicas
	// initialized is the condition ScaleTargetInitialized: the initial scale was reached once.
	initialized bool
	// proxied says that the activator is in the path for want of burst capacity, and since when. On one machine the
	// throttle always is; the time is kept because the grace period counts from it.
	proxied    bool
	proxySince time.Time
}

// firstState is a new revision's: MakeDeployment starts it with initial-scale replicas, behind the activator.
func firstState(pa *autoscalingv1alpha1.PodAutoscaler, cfg *autoscalerconfig.Config, initialized bool) state {
	st := state{proxied: true, initialized: initialized}
	if initialized {
		st.phase = inactive // scale gives it min-scale replicas
		return st
	}
	st.replicas = kparesources.GetInitialScale(cfg, pa)
	return st
}

func (st *state) begin(now time.Time) {
	if !st.begun {
		st.begun, st.since, st.proxySince = true, now, now
	}
}

// enter changes the phase; the time of a phase that goes on is kept.
func (st *state) enter(p phase, now time.Time) {
	if st.phase != p {
		st.phase, st.since = p, now
	}
}

// proxyFor is how long the activator has been in the path; zero if it is not.
func (st *state) proxyFor(now time.Time) time.Duration {
	if !st.proxied {
		return 0
	}
	return now.Sub(st.proxySince)
}

// reconcile is ReconcileKind of kpa.go: scale, then the mode of the path, then the condition Active.
func (s *Scaler) reconcile(now time.Time, ready int, why *reason) {
	want, apply := s.scale(now, s.latest.DesiredScale, why)
	if apply {
		s.state.replicas = want
	}
	serve := want > 0 && s.latest.ExcessBurstCapacity >= 0
	if serve == s.state.proxied {
		s.state.proxied, s.state.proxySince = !serve, now
	}
	s.computeActive(now, want, ready)
}

// scale is scaler.scale of kpa/scaler.go. Apply says whether the replicas are to be set to want.
func (s *Scaler) scale(now time.Time, desired int32, why *reason) (want int32, apply bool) {
	minScale, maxScale := s.pa.ScaleBounds(s.cfg)
	if desired < 0 && s.state.phase != activating {
		why.add("no request was counted yet")
		// Knative leaves the Deployment as it is, with the min-scale replicas that it had before a restart. Here they
		// ended with the engine.
		s.state.replicas = max(s.state.replicas, minScale)
		return desired, false
	}
	lower := "min-scale"
	unreachable := s.pa.Spec.Reachability == autoscalingv1alpha1.ReachabilityUnreachable
	initial := kparesources.GetInitialScale(s.cfg, s.pa)
	if initial > 1 && !s.state.initialized && !unreachable {
		if initial > minScale {
			lower = "initial-scale"
		}
		minScale = max(initial, minScale)
	}
	switch bounded := applyBounds(minScale, maxScale, desired); {
	case bounded > desired && bounded > 0:
		why.add(fmt.Sprintf("%s keeps %d", lower, bounded))
		desired = bounded
	case bounded < desired:
		why.add(fmt.Sprintf("max-scale allows %d", bounded))
		desired = bounded
	default:
		desired = bounded
	}
	return s.handleScaleToZero(now, desired, why)
}

// applyBounds is that of kpa/scaler.go: a max of 0 is none.
func applyBounds(minScale, maxScale, x int32) int32 {
	if x < minScale {
		return minScale
	}
	if maxScale != 0 && x > maxScale {
		return maxScale
	}
	return x
}

// handleScaleToZero is that of kpa/scaler.go.
func (s *Scaler) handleScaleToZero(now time.Time, desired int32, why *reason) (int32, bool) {
	if desired != 0 {
		return desired, true
	}
	if !s.cfg.EnableScaleToZero {
		why.add("enable-scale-to-zero is false")
		return 1, true
	}
	inPhase := now.Sub(s.state.since)
	switch s.state.phase {
	case activating:
		timeout := s.activationTimeout()
		// CanFailActivation compares strictly.
		if inPhase > timeout {
			why.add(fmt.Sprintf("it did not get ready within %v", timeout))
			return 0, true
		}
		why.add(fmt.Sprintf("it has been starting for %v of at most %v", round(inPhase), timeout))
		return scaleUnknown, false
	case active:
		// It is marked inactive first, after a stable window; the replicas stay.
		window := aresources.StableWindow(s.pa, s.cfg)
		if inPhase >= window {
			why.add(fmt.Sprintf("it was active for %v and becomes inactive", round(inPhase)))
			return 0, false
		}
		why.add(fmt.Sprintf("it has been active for %v of a stable window of %v", round(inPhase), window))
		return 1, true
	default:
		return 0, s.mayDropLast(now, inPhase, why)
	}
}

// mayDropLast says whether an inactive revision may lose its last replica: the last branch of handleScaleToZero. The
// probe for the activator is left out, the throttle always stands before the replicas.
func (s *Scaler) mayDropLast(now time.Time, inactiveFor time.Duration, why *reason) bool {
	retention := s.lastPodRetention()
	if inactiveFor >= max(s.cfg.ScaleToZeroGracePeriod, retention) {
		why.add(fmt.Sprintf("it has been inactive for %v", round(inactiveFor)))
		return true
	}
	if retention > 0 && inactiveFor < retention {
		why.add(fmt.Sprintf("it has been inactive for %v of a scale-to-zero-pod-retention-period of %v", round(inactiveFor), retention))
		return false
	}
	if proxied := s.state.proxyFor(now); proxied < s.cfg.ScaleToZeroGracePeriod {
		why.add(fmt.Sprintf("requests have been buffered for %v of a scale-to-zero-grace-period of %v", round(proxied), s.cfg.ScaleToZeroGracePeriod))
		return false
	}
	why.add(fmt.Sprintf("it has been inactive for %v", round(inactiveFor)))
	return true
}

// lastPodRetention is that of kpa/scaler.go.
func (s *Scaler) lastPodRetention() time.Duration {
	if s.pa.Spec.Reachability == autoscalingv1alpha1.ReachabilityUnreachable {
		return 0
	}
	if d, ok := s.pa.ScaleToZeroPodRetention(); ok {
		return d
	}
	return s.cfg.ScaleToZeroPodRetentionPeriod
}

// activationTimeout is the progress deadline and a buffer; config-deployment's default is 10 minutes.
func (s *Scaler) activationTimeout() time.Duration {
	if d, ok := s.pa.ProgressDeadline(); ok {
		return d + activationTimeoutBuffer
	}
	return deployment.ProgressDeadlineDefault + activationTimeoutBuffer
}

// computeActive is computeActiveCondition of kpa.go; its table is in the comment there.
func (s *Scaler) computeActive(now time.Time, want int32, ready int) {
	threshold := s.activeThreshold()
	if ready >= threshold {
		s.state.initialized = true
	}
	switch {
	case want == 0 || threshold == 0:
		s.state.enter(inactive, now)
	case want > 0 || s.state.phase != inactive:
		if ready < threshold {
			s.state.enter(activating, now)
		} else {
			s.state.enter(active, now)
		}
	}
}

// activeThreshold is that of kpa.go: how many replicas must be ready for the revision to be active.
func (s *Scaler) activeThreshold() int {
	minScale, _ := s.pa.ScaleBounds(s.cfg)
	if !s.state.initialized {
		return int(max(minScale, kparesources.GetInitialScale(s.cfg, s.pa)))
	}
	return int(max(minScale, 1))
}
