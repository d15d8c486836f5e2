package knative

import (
	"errors"
	"fmt"
	"slices"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// shift returns the traffic block after a deploy: the new revision has o.Traffic percent and o.Tag, the others share the
// rest as they shared all, to whole percents that sum to 100. An entry without a share and without a tag is left out, and
// so is a revision that has failed: if no other has a share, the new one takes all.
func shift(block []servingv1.TrafficTarget, latest, name string, o DeployOptions) ([]servingv1.TrafficTarget, error) {
	share := int64(100)
	if o.Traffic != nil {
		share = int64(*o.Traffic)
	}
	others := pinned(block, latest, o.Tag)
	if sum := sumOf(others); sum != 0 && sum != 100 {
		return nil, fmt.Errorf("the percents of the existing traffic block sum to %d, not 100", sum)
	}
	all := len(others)
	others = slices.DeleteFunc(others, func(tt servingv1.TrafficTarget) bool { return slices.Contains(o.Failed, tt.RevisionName) })
	if len(others) < all && sumOf(others) == 0 {
		share = 100 // nothing else answers
	}
	if err := scaleDown(others, 100-share); err != nil {
		return nil, err
	}
	others = slices.DeleteFunc(others, func(tt servingv1.TrafficTarget) bool { return percent(tt) == 0 && tt.Tag == "" })
	return append(others, servingv1.TrafficTarget{RevisionName: name, Tag: o.Tag, Percent: &share}), nil
}

// pinned is the block with every entry naming its revision and without the tag that moves away.
func pinned(block []servingv1.TrafficTarget, latest, moved string) []servingv1.TrafficTarget {
	if len(block) == 0 && latest != "" {
		all := int64(100)
		block = []servingv1.TrafficTarget{{RevisionName: latest, Percent: &all}}
	}
	out := make([]servingv1.TrafficTarget, 0, len(block)+1)
	for _, tt := range block {
		part := percent(tt)
		entry := servingv1.TrafficTarget{RevisionName: tt.RevisionName, Tag: tt.Tag, Percent: &part}
		if entry.RevisionName == "" {
			entry.RevisionName = latest
		}
		if moved != "" && entry.Tag == moved {
			entry.Tag = ""
		}
		out = append(out, entry)
	}
	return out
}

// scaleDown makes the entries' percents sum to rest in proportion to what they were, by largest remainders: each gets
// its share rounded down, and what is left goes one each to those who lost most, the earlier first.
func scaleDown(entries []servingv1.TrafficTarget, rest int64) error {
	sum := sumOf(entries)
	if sum == 0 {
		if rest != 0 {
			return errors.New("no other revision has traffic: the new one must take 100")
		}
		return nil
	}
	type remainder struct {
		index int
		lost  int64
	}
	lost := make([]remainder, 0, len(entries))
	left := rest
	for i := range entries {
		exact := *entries[i].Percent * rest // in parts of the sum
		*entries[i].Percent = exact / sum
		left -= exact / sum
		lost = append(lost, remainder{index: i, lost: exact % sum})
	}
	slices.SortStableFunc(lost, func(a, b remainder) int { return int(b.lost - a.lost) })
	for _, r := range lost[:left] {
		*entries[r.index].Percent++
	}
	return nil
}

func sumOf(entries []servingv1.TrafficTarget) (sum int64) {
	for _, tt := range entries {
		sum += *tt.Percent
	}
	return sum
}
