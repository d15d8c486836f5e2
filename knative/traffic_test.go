package knative

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// entry is a traffic block's entry; no revision means the latest, a negative percent none.
func entry(revision, tag string, part int64) servingv1.TrafficTarget {
	tt := servingv1.TrafficTarget{RevisionName: revision, Tag: tag}
	if part >= 0 {
		tt.Percent = &part
	}
	return tt
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		block  []servingv1.TrafficTarget
		latest string
		want   []Target
		err    error
	}{
		{name: "none", latest: "m-1", want: []Target{{"m-1", "", 100}}},
		{name: "latest", block: []servingv1.TrafficTarget{entry("", "now", 100)}, latest: "m-2", want: []Target{{"m-2", "now", 100}}},
		{name: "split", block: []servingv1.TrafficTarget{entry("m-1", "old", 70), entry("", "", 30), entry("m-0", "lab", -1)}, latest: "m-2",
			want: []Target{{"m-1", "old", 70}, {"m-2", "", 30}, {"m-0", "lab", 0}}},
		{name: "two tags of one revision", block: []servingv1.TrafficTarget{entry("m-1", "a", 50), entry("m-1", "b", 50)}, want: []Target{{"m-1", "a", 50}, {"m-1", "b", 50}}},
		{name: "merged", block: []servingv1.TrafficTarget{entry("m-1", "", 50), entry("m-1", "", 50)}, want: []Target{{"m-1", "", 100}}},
		{name: "latest and by name stay apart", block: []servingv1.TrafficTarget{entry("m-1", "", 50), entry("", "", 50)}, latest: "m-1", want: []Target{{"m-1", "", 50}, {"m-1", "", 50}}},
		{name: "nothing ready", err: ErrNotReady},
		{name: "nothing ready, by name", block: []servingv1.TrafficTarget{entry("m-1", "", 100)}, want: []Target{{"m-1", "", 100}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			svc := &servingv1.Service{}
			svc.Spec.Traffic = tt.block
			got, err := Traffic(svc, tt.latest)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShift(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		block   []servingv1.TrafficTarget
		latest  string
		traffic int // negative: not given
		tag     string
		want    []Target
	}{
		{name: "first", traffic: -1, tag: "v1", want: []Target{{"new", "v1", 100}}},
		{name: "all", block: []servingv1.TrafficTarget{entry("a", "", 60), entry("b", "old", 40)}, traffic: -1, want: []Target{{"b", "old", 0}, {"new", "", 100}}},
		{name: "part of the latest", block: []servingv1.TrafficTarget{entry("", "", 100)}, latest: "a", traffic: 10, want: []Target{{"a", "", 90}, {"new", "", 10}}},
		{name: "no block", latest: "a", traffic: 10, want: []Target{{"a", "", 90}, {"new", "", 10}}},
		{name: "none", block: []servingv1.TrafficTarget{entry("a", "", 100)}, traffic: 0, tag: "next", want: []Target{{"a", "", 100}, {"new", "next", 0}}},
		{name: "rounding", block: []servingv1.TrafficTarget{entry("a", "", 34), entry("b", "", 33), entry("c", "", 33)}, traffic: 50,
			want: []Target{{"a", "", 17}, {"b", "", 17}, {"c", "", 16}, {"new", "", 50}}},
		{name: "small shares go", block: []servingv1.TrafficTarget{entry("a", "", 99), entry("b", "", 1)}, traffic: 99, want: []Target{{"a", "", 1}, {"new", "", 99}}},
		{name: "tag moves", block: []servingv1.TrafficTarget{entry("a", "", 100), entry("b", "next", 0)}, traffic: 20, tag: "next", want: []Target{{"a", "", 80}, {"new", "next", 20}}},
		{name: "tag leaves a share", block: []servingv1.TrafficTarget{entry("a", "live", 100)}, traffic: 20, tag: "live", want: []Target{{"a", "", 80}, {"new", "live", 20}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := DeployOptions{Tag: tt.tag}
			if tt.traffic >= 0 {
				o.Traffic = &tt.traffic
			}
			block, err := shift(tt.block, tt.latest, "new", o)
			if err != nil {
				t.Fatal(err)
			}
			var got []Target
			for _, e := range block {
				got = append(got, Target{e.RevisionName, e.Tag, int(*e.Percent)})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("block (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := shift([]servingv1.TrafficTarget{entry("a", "", 50)}, "", "new", DeployOptions{}); err == nil {
		t.Error("a block of 50 % is shifted")
	}
	if _, err := shift([]servingv1.TrafficTarget{entry("a", "t", 0)}, "", "new", DeployOptions{Traffic: ptr(50)}); err == nil {
		t.Error("a rest without anyone to take it is dropped")
	}
}

// FuzzShift sees that whatever the shares were, the block sums to 100 and nobody gains.
func FuzzShift(f *testing.F) {
	f.Add([]byte{50, 30, 20}, uint8(10))
	f.Add([]byte{1, 1, 98}, uint8(99))
	f.Fuzz(func(t *testing.T, shares []byte, traffic uint8) {
		var block []servingv1.TrafficTarget
		left := int64(100)
		for i, share := range shares {
			part := min(int64(share), left)
			left -= part
			block = append(block, entry("m-"+string(rune('a'+i%26)), "", part))
		}
		block = append(block, entry("last", "", left))
		part := int(traffic) % 101
		got, err := shift(block, "", "new", DeployOptions{Traffic: &part})
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		for _, e := range got {
			sum += *e.Percent
		}
		if sum != 100 || *got[len(got)-1].Percent != int64(part) {
			t.Errorf("sum %d, new %d of %d", sum, *got[len(got)-1].Percent, part)
		}
	})
}
