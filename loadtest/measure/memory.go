package measure

import (
	"slices"

	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/scenario"
)

// growthRows is how many rows each of the two ends of a run has to have for a growth to be told.
const growthRows = 5

// judgeMemory judges memory, the most of all replicas together, and memory_growth, by how much a replica has more in the last tenth of
// the run than in its second one: in the first a process still gets what it keeps. Of weir it is the engine's own process.
func (r *Run) judgeMemory(t scenario.Threshold, v Verdict) Verdict {
	var each []float64 // a replica's, row by row
	most := 0.0
	for i := range r.Rows {
		if mb, n := r.memory(&r.Rows[i], t.Of); n > 0 {
			most, each = max(most, mb), append(each, mb/float64(n))
		}
	}
	tenth := len(each) / 10
	switch {
	case len(each) == 0:
		v.Missing = "the engine has no service or revision of this name"
		return v
	case t.Metric == "memory":
		v.Value = most
	case tenth < growthRows:
		v.Missing = "the run was too short to tell a growth"
		return v
	default:
		v.Value = median(each[len(each)-tenth:]) - median(each[tenth:2*tenth])
	}
	v.Holds = t.Holds(v.Value)
	return v
}

// memory is what a service, a revision or the engine has in a row, in MB, and by how many replicas.
func (r *Run) memory(row *Row, of string) (mb float64, replicas int) {
	if of == knative.EngineReplica && row.Engine != nil {
		return row.Engine.Memory, 1
	}
	for _, rev := range r.Revisions {
		if rev.Name == of || rev.Service == of {
			x := row.Revisions[rev.Name]
			mb += x.Memory
			replicas += len(x.Replicas)
		}
	}
	return mb, replicas
}

func median(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return x[len(x)/2]
}
