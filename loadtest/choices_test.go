package loadtest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
)

// BenchmarkThreads is a replica of imagenet with other numbers of threads than it chooses, on one processor and on two.
func BenchmarkThreads(b *testing.B) {
	photo := readPhoto(b)
	for _, processors := range []string{"0", "0,1"} {
		for _, t := range []struct{ intra, inter int }{{0, 0}, {1, 1}, {1, 2}, {2, 1}, {2, 2}} {
			threads := fmt.Sprintf("intra=%d,inter=%d", t.intra, t.inter)
			if t.intra == 0 {
				threads = "chosen"
			}
			b.Run("processors="+processors+"/"+threads, func(b *testing.B) {
				url, _ := startCommand(b, "taskset", "--cpu-list", processors, harness.Path("bin/functions/imagenet"), "--model", harness.Path("build/models/imagenet/1"),
					"--intra-op-threads", strconv.Itoa(t.intra), "--inter-op-threads", strconv.Itoa(t.inter))
				awaitOK(b, url+"/readyz")
				ask := lines(b, url+"/v1/models/imagenet:predict", http.Header{"Content-Type": {"image/jpeg"}}, photo)
				for b.Loop() {
					for _, callers := range []int{1, 2, 8} {
						rate(b, callers, slice/4, ask)
						b.ReportMetric(rate(b, callers, slice, ask), fmt.Sprintf("images/s-%d", callers))
					}
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkLibraries is imagenet's program with TensorFlow's libraries of several releases: what a replica's start takes to its
// first answer, page cache warm, the photos a second of two callers, and the libraries' size and the replica's memory.
// `make libraries` fetches them.
func BenchmarkLibraries(b *testing.B) {
	folders, err := filepath.Glob(harness.Path("build/libraries/*"))
	if err != nil || len(folders) == 0 {
		b.Skip("there are no libraries to compare: make libraries")
	}
	photo := readPhoto(b)
	for _, folder := range folders {
		b.Run(filepath.Base(folder), func(b *testing.B) {
			b.Setenv("LD_LIBRARY_PATH", folder)
			start := func(b *testing.B) (func() error, *os.Process) {
				url, p := startCommand(b, harness.Path("bin/functions/imagenet"), "--model", harness.Path("build/models/imagenet/1"))
				ask := post(url+"/v1/models/imagenet:predict", "image/jpeg", photo)
				for limit := time.Now().Add(time.Minute); ask() != nil; time.Sleep(time.Millisecond) {
					if time.Now().After(limit) {
						b.Fatalf("no answer after a minute: %v", ask())
					}
				}
				return ask, p
			}
			start(b) // reads the pages
			var took []float64
			for b.Loop() {
				began := time.Now()
				_, p := start(b)
				took = append(took, float64(time.Since(began).Milliseconds()))
				_ = p.Signal(os.Interrupt)
				_, _ = p.Wait()
			}
			ask, p := start(b)
			rate(b, 2, slice, ask)
			b.ReportMetric(median(took), "ms-start")
			b.ReportMetric(rate(b, 2, 2*slice, ask), "images/s")
			b.ReportMetric(private(b, p.Pid), "MiB-unshared")
			b.ReportMetric(size(b, folder), "MB-libraries")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// size is that of TensorFlow's libraries in a folder, in MB.
func size(b *testing.B, folder string) float64 {
	b.Helper()
	sum := int64(0)
	for _, name := range []string{"libtensorflow_cc.so.2", "libtensorflow_framework.so.2"} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			b.Fatal(err)
		}
		sum += info.Size()
	}
	return float64(sum) / 1e6
}
