package local

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"weir.dev/weir/knative"
)

// Observe returns what runs and uses the machine now, and the decisions after a time.
func (e *Engine) Observe(ctx context.Context, since time.Time) (knative.Observation, error) {
	services, err := e.Status(ctx)
	if err != nil {
		return knative.Observation{}, err
	}
	o := knative.Observation{Time: time.Now(), Services: services, Decisions: map[string][]knative.Decision{}}
	// The router runs in this process: it is the router's only replica.
	self := knative.ReplicaUsage{Name: knative.EngineReplica, Ready: true}
	self.CPU, self.Memory = selfUsage(ctx)
	e.mu.RLock()
	defer e.mu.RUnlock()
	for name, r := range e.revisions {
		if r.builtin {
			self.Service, self.Revision = r.service, name
			continue
		}
		v := r.look()
		first := slices.IndexFunc(v.decisions, func(d knative.Decision) bool { return d.Time.After(since) })
		if first >= 0 {
			o.Decisions[name] = v.decisions[first:]
		}
		for _, m := range v.running {
			cpu, rss, err := m.Usage()
			if err != nil {
				continue // it has ended meanwhile
			}
			o.Replicas = append(o.Replicas, knative.ReplicaUsage{
				Name: m.Name(), Service: r.service, Revision: name, Ready: m.ready, CPU: cpu.Seconds(), Memory: rss,
			})
		}
	}
	slices.SortFunc(o.Replicas, func(a, b knative.ReplicaUsage) int { return strings.Compare(a.Name, b.Name) })
	o.Replicas = append(o.Replicas, self)
	return o, nil
}

// selfUsage is what this process has used; zeros if the system does not tell.
func selfUsage(ctx context.Context) (cpu float64, memory uint64) {
	p := process.Process{Pid: int32(os.Getpid())}
	if t, err := p.TimesWithContext(ctx); err == nil {
		cpu = t.User + t.System
	}
	if m, err := p.MemoryInfoWithContext(ctx); err == nil {
		memory = m.RSS
	}
	return cpu, memory
}
