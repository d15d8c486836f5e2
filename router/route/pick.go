package route

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// The rules that a Target.Why names.
const (
	WhyVersion  = "version"
	WhyTag      = "tag"
	WhyRevision = "revision"
	WhySession  = "session"
	WhyTraffic  = "traffic"
)

// Pick chooses the model, by Hints.Model, else Host, else EventType, and then its revision: by Version, else Tag (a host
// that names a tag stands before Hints.Tag), else Revision, else by the percentages. With Session the percentages choose
// by weighted rendezvous hashing: the same session gets the same revision from every Table with the same percentages,
// and when they change a session leaves only a revision whose share fell or goes only to one whose share rose. Without
// it random, any 64 even bits, chooses. Errors wrap ErrNoModel, ErrNoRevision or ErrNotYet and name what there is.
func (t *Table) Pick(h Hints, random uint64) (Target, error) {
	e, tag, err := t.model(h)
	if err != nil {
		return Target{}, err
	}
	if tag == "" {
		tag = h.Tag
	}
	switch {
	case h.Version != 0:
		return e.byVersion(h.Version, tag)
	case tag != "":
		return e.byTag(tag)
	case h.Revision != "":
		return e.byName(h.Revision)
	}
	return e.byTraffic(h.Session, random)
}

// model finds the model, and the tag that the host names.
func (t *Table) model(h Hints) (*entry, string, error) {
	switch {
	case h.Model != "":
		if e, ok := t.names[h.Model]; ok && !e.HostOnly {
			return e, "", nil
		}
		return nil, "", fmt.Errorf("%w %q: there %s", ErrNoModel, h.Model, t.modelNames())
	case h.Host != "":
		if m, ok := t.host(h.Host); ok {
			return m.model, m.tag, nil
		}
		return nil, "", fmt.Errorf("%w at host %q: there %s", ErrNoModel, h.Host, t.modelNames())
	case h.EventType != "":
		if e, ok := t.events[h.EventType]; ok {
			return e, "", nil
		}
		return nil, "", fmt.Errorf("%w for events of type %q: there %s", ErrNoModel, h.EventType, t.modelNames())
	}
	return nil, "", fmt.Errorf("%w: none was named; there %s", ErrNoModel, t.modelNames())
}

// byVersion prefers, where several revisions serve a version, the one with the tag, then the one with the largest share,
// then the last.
func (e *entry) byVersion(version int64, tag string) (Target, error) {
	var best *Revision
	for i := range e.Revisions {
		rev := &e.Revisions[i]
		switch {
		case rev.Version != version:
		case tag != "" && slices.Contains(rev.Tags, tag):
			return e.target(rev, tag, WhyVersion), nil
		case best == nil || rev.Percent >= best.Percent:
			best = rev
		}
	}
	if best == nil {
		return Target{}, fmt.Errorf("%w: model %q has no version %d: there %s", ErrNoRevision, e.Name, version, e.versions())
	}
	return e.target(best, "", WhyVersion), nil
}

func (e *entry) byTag(tag string) (Target, error) {
	if rev, ok := e.tags[tag]; ok {
		return e.target(rev, tag, WhyTag), nil
	}
	return Target{}, fmt.Errorf("%w: model %q has no tag %q: there %s", ErrNoRevision, e.Name, tag, e.tagNames())
}

func (e *entry) byName(name string) (Target, error) {
	for i := range e.Revisions {
		if e.Revisions[i].Name == name {
			return e.target(&e.Revisions[i], "", WhyRevision), nil
		}
	}
	names := make([]string, len(e.Revisions))
	for i, rev := range e.Revisions {
		names[i] = rev.Name
	}
	return Target{}, fmt.Errorf("%w: model %q has no revision %q: there %s", ErrNoRevision, e.Name, name, are(names))
}

// byTraffic leaves out what is not ready, unless nothing with a share is: then the engine is asked, which knows whether
// to wait.
func (e *entry) byTraffic(session string, random uint64) (Target, error) {
	total, ready := 0, 0
	for i := range e.Revisions {
		total += e.Revisions[i].Percent
		if e.Revisions[i].Ready {
			ready += e.Revisions[i].Percent
		}
	}
	if len(e.Revisions) == 0 {
		return Target{}, fmt.Errorf("%w: model %q is being set up", ErrNotYet, e.Name)
	}
	if total == 0 {
		return Target{}, fmt.Errorf("%w: model %q has no traffic but by tag: there %s", ErrNoRevision, e.Name, e.tagNames())
	}
	all := ready == 0
	if session != "" {
		return e.target(e.bySession(session, all), "", WhySession), nil
	}
	if !all {
		total = ready
	}
	left, _ := bits.Mul64(random, uint64(total))
	var chosen *Revision
	for i := range e.Revisions {
		rev := &e.Revisions[i]
		if rev.Percent == 0 || !all && !rev.Ready {
			continue
		}
		chosen = rev
		if left < uint64(rev.Percent) {
			break
		}
		left -= uint64(rev.Percent)
	}
	return e.target(chosen, "", WhyTraffic), nil
}

// bySession is weighted rendezvous hashing by the logarithmic method: every revision draws u in (0,1) from the session
// and its own name, and the largest share/-ln(u) wins. A share that grows can only win sessions, one that shrinks can
// only lose some.
func (e *entry) bySession(session string, all bool) *Revision {
	key := xxhash.Sum64String(session)
	var best *Revision
	score := math.Inf(-1)
	for i := range e.Revisions {
		rev := &e.Revisions[i]
		if rev.Percent == 0 || !all && !rev.Ready {
			continue
		}
		u := (float64(mix(key^e.hashes[i])>>11) + 0.5) / (1 << 53)
		if s := float64(rev.Percent) / -math.Log(u); s > score {
			best, score = rev, s
		}
	}
	return best
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): the exclusive or of two hashes alone is not random
// enough across revisions.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (e *entry) target(rev *Revision, tag, why string) Target {
	if tag == "" && len(rev.Tags) > 0 {
		tag = rev.Tags[0]
	}
	return Target{Model: e.Name, Revision: rev.Name, Version: rev.Version, Tag: tag, Why: why}
}

func (t *Table) modelNames() string {
	var names []string
	for _, e := range t.models {
		if !e.HostOnly {
			names = append(names, e.Name)
		}
	}
	return are(names)
}

func (e *entry) versions() string {
	var versions []int64
	for _, rev := range e.Revisions {
		if rev.Version != 0 {
			versions = append(versions, rev.Version)
		}
	}
	slices.Sort(versions)
	var names []string
	for _, v := range slices.Compact(versions) {
		names = append(names, strconv.FormatInt(v, 10))
	}
	return are(names)
}

func (e *entry) tagNames() string {
	var names []string
	for tag := range e.tags {
		names = append(names, tag)
	}
	slices.Sort(names)
	return are(names)
}

// are lists what there is, for an error's end: `are a, b`.
func are(names []string) string {
	switch len(names) {
	case 0:
		return "are none"
	case 1:
		return "is only " + names[0]
	}
	return "are " + strings.Join(names, ", ")
}
