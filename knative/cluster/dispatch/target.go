package dispatch

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/serving/pkg/apis/serving"
	servingnet "knative.dev/serving/pkg/networking"

	"weir.dev/weir/knative"
)

// byRevision is the index of endpoint slices by the revision that they belong to.
const byRevision = "revision"

// target is where a revision answers.
type target struct {
	places []*place
	ready  int // replicas that answer
	// warm says that one has answered, although it is not in the endpoints yet: the activator looks for itself.
	warm     atomic.Bool
	inFlight atomic.Int64
	meter    meter
}

// place is one address of a target: a replica's, or an activator's.
type place struct {
	address  string
	h2c      bool
	inFlight atomic.Int64
}

// reach reads anew where a revision answers, after a change of one of its endpoint slices.
func (b *Backend) reach(index cache.Indexer, obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	changed, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	revision := changed.Labels[serving.RevisionLabelKey]
	if revision == "" {
		return
	}
	found, err := index.ByIndex(byRevision, revision)
	if err != nil {
		return // there is no such index only if sliceInformer lacks it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(found) == 0 {
		delete(b.targets, revision)
		b.changeLocked()
		return
	}
	t := &target{}
	before := b.targets[revision]
	if before != nil {
		t = before
	}
	ready := 0
	var places []*place
	for _, obj := range found {
		s, ok := obj.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		switch servingnet.ServiceType(s.Labels[servingnet.ServiceTypeKey]) {
		case servingnet.ServiceTypePrivate:
			ready += len(answering(s))
		case servingnet.ServiceTypePublic:
			places = append(places, placesOf(s, t.places)...)
		}
	}
	same := before != nil && (before.ready == 0) == (ready == 0) && (len(before.places) == 0) == (len(places) == 0)
	if ready == 0 && t.ready > 0 {
		t.warm.Store(false)
	}
	t.places, t.ready = places, ready
	b.targets[revision] = t
	if !same {
		b.changeLocked()
	}
}

// answering returns the addresses that take requests.
func answering(s *discoveryv1.EndpointSlice) []string {
	var addresses []string
	for _, e := range s.Endpoints {
		if e.Conditions.Ready == nil || *e.Conditions.Ready {
			addresses = append(addresses, e.Addresses...)
		}
	}
	return addresses
}

// placesOf returns a slice's places; those that were known stay the same, with their requests.
func placesOf(s *discoveryv1.EndpointSlice, known []*place) []*place {
	var places []*place
	for _, port := range s.Ports {
		if port.Port == nil || port.Name != nil && *port.Name == networking.ServicePortNameHTTPS {
			continue
		}
		h2c := port.Name != nil && *port.Name == networking.ServicePortNameH2C
		for _, host := range answering(s) {
			p := &place{address: net.JoinHostPort(host, strconv.Itoa(int(*port.Port))), h2c: h2c}
			for _, k := range known {
				if k.address == p.address && k.h2c == p.h2c {
					p = k
				}
			}
			places = append(places, p)
		}
	}
	return places
}

// choose takes the less busy of two places at random, as activators do; the one that was tried only if it is alone.
func choose(places []*place, tried *place) *place {
	n := len(places)
	if n == 0 {
		return nil
	}
	i := rand.IntN(n)
	if n > 1 && places[i] == tried {
		i = (i + 1) % n
	}
	a, b := places[i], places[rand.IntN(n)]
	if b != tried && b.inFlight.Load() < a.inFlight.Load() {
		return b
	}
	return a
}

// load adds to a revision's status what goes to it from here. Without a replica the requests wait at the activator.
func (t *target) load(s *knative.RevisionStatus) {
	n := int(t.inFlight.Load())
	if t.ready == 0 {
		s.Queue = n
	} else {
		s.Concurrency = float64(n)
	}
	s.RPS = float64(t.meter.lastSecond(time.Now()))
}

// meter counts what happened in this second and in the one before.
type meter struct {
	mu        sync.Mutex
	second    int64
	now, last int
}

func (m *meter) add(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roll(t)
	m.now++
}

func (m *meter) lastSecond(t time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roll(t)
	return m.last
}

func (m *meter) roll(t time.Time) {
	switch s := t.Unix(); {
	case s == m.second+1:
		m.last, m.now, m.second = m.now, 0, s
	case s > m.second:
		m.last, m.now, m.second = 0, 0, s
	}
}
