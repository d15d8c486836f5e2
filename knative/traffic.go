package knative

import (
	"fmt"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Target is one entry of a resolved traffic block, as it stands in a Knative Service's status.
type Target struct {
	Revision string
	// Tag names the revision; empty if it has none by this entry.
	Tag string
	// Percent is the share of the untagged traffic, 0 to 100.
	Percent int
}

// Traffic resolves the Service's traffic block in its order, latestRevision meaning latestReady. Without a traffic
// block all goes to latestReady. A revision may stand in several entries, with several tags; entries with the same
// revision, tag and latestRevision become one (mergeIfNecessary of reconciler/route/traffic). The error is ErrNotReady
// if an entry means the latest revision and there is none ready.
func Traffic(svc *servingv1.Service, latestReady string) ([]Target, error) {
	block := svc.Spec.Traffic
	if len(block) == 0 {
		all := int64(100)
		block = []servingv1.TrafficTarget{{Percent: &all}}
	}
	type key struct {
		revision, tag string
		latest        bool
	}
	index := make(map[key]int, len(block))
	targets := make([]Target, 0, len(block))
	for _, tt := range block {
		k := key{revision: tt.RevisionName, tag: tt.Tag, latest: tt.RevisionName == ""}
		if k.latest {
			if latestReady == "" {
				return nil, fmt.Errorf("service %s: traffic to the latest revision: %w", svc.Name, ErrNotReady)
			}
			k.revision = latestReady
		}
		i, ok := index[k]
		if !ok {
			i = len(targets)
			index[k] = i
			targets = append(targets, Target{Revision: k.revision, Tag: k.tag})
		}
		targets[i].Percent += int(percent(tt))
	}
	return targets, nil
}

// percent is an entry's share; none given is none.
func percent(tt servingv1.TrafficTarget) int64 {
	if tt.Percent == nil {
		return 0
	}
	return *tt.Percent
}
