package test

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/internal/soon"
	"weir.dev/weir/proto/inference"
)

// TestAReplicaIsKilledUnderCalls kills one replica of two while gRPC calls run: predictions change nothing, so each call
// that it had is asked of the other one, and none is lost. Then it kills both: what cannot be answered is UNAVAILABLE,
// which clients try again.
func TestAReplicaIsKilledUnderCalls(t *testing.T) {
	t.Parallel()
	w := ownWeir(t)
	w.must(t, "deploy", "half", "--model", harness.Path("build/fixtures/half_plus_two/1"), "--min-scale", "2")
	await(t, 30*time.Second, "two replicas are ready", func() bool { return w.revision(t, "half", "").Ready == 2 })
	client := inference.NewGRPCInferenceServiceClient(dialCalls(t, w.Addr))
	request := &inference.ModelInferRequest{ModelName: "half", Inputs: []*inference.ModelInferRequest_InferInputTensor{{
		Name: "x", Datatype: "FP32", Shape: []int64{2}, Contents: &inference.InferTensorContents{Fp32Contents: []float32{2, 4}},
	}}}

	// under calls kill while calls run, for so long that there are some after it, and returns how they ended.
	under := func(kill func()) map[codes.Code]int {
		got := map[codes.Code]int{}
		var mu sync.Mutex
		var callers sync.WaitGroup
		begun, stop := make(chan struct{}, 1<<16), make(chan struct{})
		for range 8 {
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					answer, err := client.ModelInfer(t.Context(), request)
					if err == nil && (len(answer.GetOutputs()) != 1 || !slices.Equal(answer.GetOutputs()[0].GetContents().GetFp32Contents(), []float32{3, 4})) {
						t.Errorf("an answer of %v", answer)
					}
					mu.Lock()
					if got[status.Code(err)]++; err != nil && got[status.Code(err)] < 4 {
						t.Log(err)
					}
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		calls := func(n int) {
			for range n {
				soon.Next(t, "a call", begun)
			}
		}
		calls(500)
		kill()
		calls(2000)
		close(stop)
		callers.Wait()
		return got
	}
	kill := func(pids []int) {
		for _, pid := range pids {
			if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
				t.Errorf("replica %d could not be killed", pid)
			}
		}
	}
	got := under(func() { kill(w.replicas(t)[:1]) })
	if len(got) != 1 || got[codes.OK] < 2500 {
		t.Errorf("with one replica of two killed, calls ended with %v", got)
	}
	await(t, 30*time.Second, "two replicas are ready again", func() bool { return w.revision(t, "half", "").Ready == 2 })
	got = under(func() { kill(w.replicas(t)) })
	for code, n := range got {
		if code != codes.OK && code != codes.Unavailable {
			t.Errorf("with both killed, %d calls ended with %v", n, code)
		}
	}
	if got[codes.OK] < 500 {
		t.Errorf("with both killed, calls ended with %v", got)
	}
}
