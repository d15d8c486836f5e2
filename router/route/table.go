package route

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Errors of Pick, for errors.Is. The error that wraps them names what there is.
var (
	ErrNoModel    = errors.New("no such model")
	ErrNoRevision = errors.New("no such revision")
	ErrNotYet     = errors.New("no revision yet")
)

// Table answers which revision a request goes to. It never changes, so it is safe for concurrent use.
type Table struct {
	models []*entry // sorted by name
	names  map[string]*entry
	hosts  map[string]host
	events map[string]*entry
}

// host is what a host name means: a model, and one of its tags if the name has one.
type host struct {
	model *entry
	tag   string
}

// entry is a Model made ready for Pick.
type entry struct {
	Model
	tags   map[string]*Revision
	hashes []uint64 // of the revisions' names
}

// NewTable checks the models and makes a Table of copies of them. It reports every problem at once.
func NewTable(models []Model) (*Table, error) {
	t := &Table{names: map[string]*entry{}, hosts: map[string]host{}, events: map[string]*entry{}}
	var problems []error
	for _, m := range models {
		problems = append(problems, check(m))
		e := newEntry(m)
		t.models = append(t.models, e)
		problems = append(problems, t.index(e))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	slices.SortFunc(t.models, func(a, b *entry) int { return strings.Compare(a.Name, b.Name) })
	return t, nil
}

// Models returns a copy of the models that are not HostOnly, sorted by name.
func (t *Table) Models() []Model {
	models := make([]Model, 0, len(t.models))
	for _, e := range t.models {
		if !e.HostOnly {
			models = append(models, clone(e.Model))
		}
	}
	return models
}

// HasHost says whether a host name, lower case and without port, means a model, be it with a tag that the model has not.
func (t *Table) HasHost(name string) bool {
	_, ok := t.host(name)
	return ok
}

// host finds what a host name means. TAG-HOST is the model's at HOST whether it has the tag or not: a request for a tag that
// is gone must not go by its path and be answered by another revision.
func (t *Table) host(name string) (host, bool) {
	if h, ok := t.hosts[name]; ok {
		return h, true
	}
	for i := 1; i < len(name)-1 && name[i] != '.'; i++ {
		if h, ok := t.hosts[name[i+1:]]; ok && name[i] == '-' && h.tag == "" {
			return host{h.model, name[:i]}, true
		}
	}
	return host{}, false
}

func newEntry(m Model) *entry {
	e := &entry{Model: clone(m), tags: map[string]*Revision{}}
	for i := range e.Revisions {
		rev := &e.Revisions[i]
		e.hashes = append(e.hashes, xxhash.Sum64String(rev.Name))
		for _, tag := range rev.Tags {
			e.tags[tag] = rev
		}
	}
	return e
}

// index adds e under its names and reports those that are taken.
func (t *Table) index(e *entry) error {
	var problems []error
	if _, taken := t.names[e.Name]; taken {
		problems = append(problems, fmt.Errorf("model %q is there twice", e.Name))
	}
	t.names[e.Name] = e
	addHost := func(name, tag string) {
		if h, taken := t.hosts[name]; taken {
			problems = append(problems, fmt.Errorf("model %q: host %q is taken by model %q", e.Name, name, h.model.Name))
			return
		}
		t.hosts[name] = host{e, tag}
	}
	for _, name := range e.Hosts {
		addHost(name, "")
		for _, tag := range slices.Sorted(maps.Keys(e.tags)) {
			addHost(tag+"-"+name, tag)
		}
	}
	for _, typ := range e.EventTypes {
		if other, taken := t.events[typ]; taken {
			problems = append(problems, fmt.Errorf("model %q: event type %q is taken by model %q", e.Name, typ, other.Name))
			continue
		}
		t.events[typ] = e
	}
	return errors.Join(problems...)
}

func clone(m Model) Model {
	m.Hosts, m.EventTypes, m.Revisions = slices.Clone(m.Hosts), slices.Clone(m.EventTypes), slices.Clone(m.Revisions)
	for i := range m.Revisions {
		m.Revisions[i].Tags = slices.Clone(m.Revisions[i].Tags)
	}
	return m
}
