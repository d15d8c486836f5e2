package autoscale

import (
	"encoding/binary"
	"math"
	"strconv"
	"testing"
	"time"

	"knative.dev/serving/pkg/autoscaler/metrics"
)

// FuzzTick feeds any stats, in any order of time and with any number of ready replicas, and sees that there is no panic
// and that the bounds are kept.
func FuzzTick(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(0), uint8(0), false)
	f.Add(append(binary.LittleEndian.AppendUint64(nil, math.Float64bits(1e300)), 1, 1, 1, 1), uint8(2), uint8(5), true)
	f.Add(append(binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN())), 200, 9, 1, 1), uint8(1), uint8(1), true)
	f.Fuzz(func(t *testing.T, data []byte, low, high uint8, rps bool) {
		minScale, maxScale := int(low), int(low)+int(high)
		annotations := []string{"window=6s", "min-scale=" + strconv.Itoa(minScale), "max-scale=" + strconv.Itoa(maxScale)}
		if rps {
			annotations = append(annotations, "metric=rps")
		}
		ready := 0
		s, err := New(Options{Revision: revision(3, annotations...), Ready: func() (int, int) { return ready, 0 }})
		if err != nil {
			t.Skip(err)
		}
		defer s.Close()
		now := start()
		for len(data) >= 12 {
			load := math.Float64frombits(binary.LittleEndian.Uint64(data))
			now = now.Add(time.Duration(int16(binary.LittleEndian.Uint16(data[8:]))) * time.Millisecond)
			ready = int(data[10])
			s.SetReachable(data[11]&1 == 0)
			s.Record(now, metrics.Stat{AverageConcurrentRequests: load, RequestCount: load})
			d := s.Tick(now)
			if d.Wanted < 0 || maxScale > 0 && d.Wanted > max(maxScale, 1) {
				t.Fatalf("wanted %d outside of %d to %d: %+v", d.Wanted, minScale, maxScale, d)
			}
			if data[11]&1 == 0 && d.Wanted < minScale {
				t.Fatalf("wanted %d below min-scale %d: %+v", d.Wanted, minScale, d)
			}
			if d.Wanted == 0 && d.Desired > 0 {
				t.Fatalf("no replica for load: %+v", d)
			}
			data = data[12:]
		}
	})
}
