package measure

import (
	"maps"
	"slices"
	"time"

	"weir.dev/weir/knative"
)

// engineState is what is kept from one look at the engine to the next.
type engineState struct {
	at     time.Time
	cpu    map[string]float64 // processor seconds by replica
	used   map[string]Use     // what the last look said
	wanted map[string]int     // replicas wanted by revision
}

const megabyte = 1 << 20

// look puts what the engine says into a row.
func (r *Recorder) look(row *Row, seen *knative.Observation) {
	row.Revisions = map[string]RevisionRow{}
	if r.engine.at.IsZero() {
		r.run.Unknown = slices.Clone(seen.Unknown)
	}
	// What was known once is shown.
	r.run.Unknown = slices.DeleteFunc(r.run.Unknown, func(f knative.Figure) bool { return !slices.Contains(seen.Unknown, f) })
	for _, note := range seen.Notes {
		if !slices.Contains(r.run.Notes, note) {
			r.run.Notes = append(r.run.Notes, note)
		}
	}
	if seen.Time.After(r.engine.at) {
		r.use(seen)
	}
	used := r.engine.used
	for _, s := range seen.Services {
		if !s.Model {
			continue // the router is part of the engine
		}
		for _, rev := range s.Revisions {
			r.see(s.Name, rev.Name)
			x := RevisionRow{
				Ready: rev.Ready, Starting: rev.Starting, Wanted: rev.Wanted, Concurrency: rev.Concurrency,
				Queue: rev.Queue, RPS: rev.RPS, Percent: rev.Percent, Replicas: map[string]Use{},
			}
			for _, u := range seen.Replicas {
				if u.Revision != rev.Name {
					continue
				}
				x.Replicas[u.Name] = used[u.Name]
				x.CPU += used[u.Name].CPU
				x.Memory += used[u.Name].Memory
			}
			row.Revisions[rev.Name] = x
		}
	}
	if self, ok := used[knative.EngineReplica]; ok {
		row.Engine = &self
	}
	for _, name := range slices.Sorted(maps.Keys(seen.Decisions)) {
		r.decided(name, seen.Decisions[name])
	}
}

// use measures what each replica has used since the look before. Of the first look only its memory is known.
func (r *Recorder) use(seen *knative.Observation) {
	elapsed := seen.Time.Sub(r.engine.at).Seconds()
	first := r.engine.at.IsZero()
	used, cpu := map[string]Use{}, map[string]float64{}
	for _, u := range seen.Replicas {
		use := Use{Memory: float64(u.Memory) / megabyte}
		if u.Processors != nil {
			use.CPU = *u.Processors
		} else if !first {
			use.CPU = max(0, u.CPU-r.engine.cpu[u.Name]) / elapsed
		}
		used[u.Name], cpu[u.Name] = use, u.CPU
	}
	r.engine.at, r.engine.cpu, r.engine.used = seen.Time, cpu, used
}

func (r *Recorder) see(service, revision string) {
	if !slices.ContainsFunc(r.run.Revisions, func(x Revision) bool { return x.Name == revision }) {
		r.run.Revisions = append(r.run.Revisions, Revision{Name: revision, Service: service})
	}
}

// decided marks the decisions that changed the number of replicas.
func (r *Recorder) decided(revision string, decisions []knative.Decision) {
	for _, d := range decisions {
		from, known := r.engine.wanted[revision]
		r.engine.wanted[revision] = d.Wanted
		if !known || from == d.Wanted || d.Time.Before(r.run.Started) {
			continue
		}
		r.run.Decisions = append(r.run.Decisions, Mark{T: r.since(d.Time), Revision: revision, From: from, Decision: d})
	}
}
