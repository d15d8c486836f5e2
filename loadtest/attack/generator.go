package attack

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"weir.dev/weir/loadtest/scenario"
)

const (
	// adjustEvery is how often the number of users follows the plan.
	adjustEvery = 50 * time.Millisecond
	// pause is how long a user waits after a request that got no answer: a dead target is not to be asked in a tight loop.
	pause = 100 * time.Millisecond
	// together is how many users start at once. A breath after them the sender reads what was answered meanwhile: of many more
	// it would first open all their connections, and count that as the target's time.
	together = 10
	breath   = time.Millisecond
)

// Options of a Generator.
type Options struct {
	// URL is where the requests go.
	URL string
	// At is the host:port that is dialled for URL's host. If empty, that host.
	At string
	// Guard says whether they may.
	Guard Guard
	// Grace bounds how long requests may go on after the run was ended. If zero, 5 s.
	Grace time.Duration
	// Done is told of every request that has ended, from many goroutines.
	Done func(Shot)
}

// Generator sends one load. Its methods may be called from any goroutine.
type Generator struct {
	load   scenario.Load
	o      Options
	target *target
	client *http.Client
	sent   atomic.Uint64

	mu    sync.Mutex
	stage int      // the one that runs
	users int      // that there are
	fixed int      // users that were asked for instead of the plan's; -1 for none
	rate  float64  // arrivals a second that were asked for instead of the plan's; -1 for none
	pacer *pacer   // of an open-loop stage
	first uint64   // requests sent before that stage
	quits []func() // ends a user each
}

// New makes a generator.
func New(l scenario.Load, o Options) (*Generator, error) {
	client, err := o.Guard.client(o.URL, o.At, l.Target.API.Calls())
	if err != nil {
		return nil, err
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	return &Generator{load: l, o: o, target: newTarget(l, o.URL), client: client, stage: -1, fixed: -1, rate: -1}, nil
}

// State is what a generator does now.
type State struct {
	Load string `json:"load"`
	// Stage is the stage that runs; empty before the first.
	Stage string `json:"stage"`
	// Closed says that users ask, whose number Users is; else Rate is the arrivals a second that are wanted.
	Closed bool    `json:"closed"`
	Users  int     `json:"users"`
	Rate   float64 `json:"rate"`
	// Held says that they are not the scenario's but what Set has asked for.
	Held bool `json:"held"`
	// Sent counts the requests so far.
	Sent uint64 `json:"sent"`
}

// State returns what is done now.
func (g *Generator) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := State{Load: g.load.Name, Users: g.users, Sent: g.sent.Load()}
	if g.stage >= 0 && g.stage < len(g.load.Stages) {
		s.Stage = g.load.Stages[g.stage].Name
		s.Closed = g.load.Stages[g.stage].Users != nil
	}
	s.Held = s.Closed && g.fixed >= 0
	if g.pacer != nil {
		s.Rate, s.Held = g.pacer.now(), g.rate >= 0
	}
	return s
}

// Set changes the users, if it is a stage of users that runs, or else the rate. As in Locust, that holds until it is changed
// again or the run ends, in all later stages of the same kind, which keep their lengths.
func (g *Generator) Set(users int, rate float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pacer != nil {
		g.rate = rate
		g.pacer.set(rate, g.sent.Load()-g.first)
		return
	}
	g.fixed = users
}

// Run sends the load. It returns when every request has ended; if ctx ends, those on their way have the grace.
func (g *Generator) Run(ctx context.Context) {
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(g.o.Grace, cut) })()
	var wg sync.WaitGroup
	for i, stage := range g.load.Stages {
		if ctx.Err() != nil {
			break
		}
		g.begin(i)
		if stage.Users != nil {
			g.closed(ctx, requests, &wg, stage)
			continue
		}
		g.resize(requests, &wg, 0)
		g.open(ctx, requests, &wg, stage)
	}
	g.resize(requests, &wg, 0)
	g.begin(len(g.load.Stages))
	wg.Wait()
	g.client.CloseIdleConnections()
}

func (g *Generator) begin(stage int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stage, g.pacer = stage, nil
}

// open runs an open-loop stage. It returns at the stage's end, while answers may still come.
func (g *Generator) open(ctx, requests context.Context, wg *sync.WaitGroup, stage scenario.Stage) {
	p := newPacer(ctx, newSchedule(*stage.Arrivals, stage.Duration), stage.Duration)
	g.mu.Lock()
	g.pacer, g.first = p, g.sent.Load()
	if g.rate >= 0 {
		p.set(g.rate, 0)
	}
	g.mu.Unlock()
	client := *g.client
	client.Transport = bounded{RoundTripper: client.Transport, ctx: requests, timeout: g.load.Target.Timeout, connected: p.connected}
	attacker := vegeta.NewAttacker(vegeta.Client(&client), vegeta.MaxWorkers(maxConnections), vegeta.MaxBody(keptBody))
	targeter := func(t *vegeta.Target) error {
		g.sent.Add(1)
		t.Method, t.URL = g.target.method, g.target.url
		t.Body, t.Header = g.target.next()
		return nil
	}
	results := attacker.Attack(targeter, p, 0, "")
	wg.Go(func() {
		defer p.alarm.close() // the pacer has ended before the last result
		for r := range results {
			s := Shot{Load: g.load.Name, Stage: stage.Name, Turn: stage.Turn, Sent: r.Timestamp, Latency: r.Latency}
			p.take(r.Seq, &s)
			if r.Code == 0 {
				s.failed(r.Error)
			} else {
				s.answered(int(r.Code), r.Headers, r.Body)
			}
			g.o.Done(s)
		}
	})
	end := time.NewTimer(stage.Duration)
	defer end.Stop()
	select {
	case <-end.C:
	case <-ctx.Done():
	}
}

// closed runs a closed-loop stage: users come and go as planned. Those of the stage before go on.
func (g *Generator) closed(ctx, requests context.Context, wg *sync.WaitGroup, stage scenario.Stage) {
	began := time.Now()
	tick := time.NewTicker(adjustEvery)
	defer tick.Stop()
	end := time.NewTimer(stage.Duration)
	defer end.Stop()
	for {
		g.resize(requests, wg, g.wanted(stage, time.Since(began)))
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (g *Generator) wanted(stage scenario.Stage, t time.Duration) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fixed >= 0 {
		return g.fixed
	}
	return stage.Users.At(t, stage.Duration)
}

// resize starts or ends users. One that is ended finishes its request. One goroutine at a time resizes.
func (g *Generator) resize(requests context.Context, wg *sync.WaitGroup, n int) {
	for g.grow(requests, wg, n) {
		time.Sleep(breath)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.quits) > n {
		g.quits[len(g.quits)-1]()
		g.quits = g.quits[:len(g.quits)-1]
	}
}

// grow starts some of the users that are missing, and says whether more are.
func (g *Generator) grow(requests context.Context, wg *sync.WaitGroup, n int) (more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range min(n-len(g.quits), together) {
		quit, stop := context.WithCancel(requests)
		g.quits = append(g.quits, stop)
		g.users++
		wg.Go(func() {
			g.user(quit, requests)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.users--
		})
	}
	return len(g.quits) < n
}

// user asks, thinks and asks again until quit ends.
func (g *Generator) user(quit, requests context.Context) {
	for quit.Err() == nil {
		stage, think := g.think()
		s := g.shoot(requests, stage)
		s.Think = think
		g.o.Done(s)
		if s.Status == 0 {
			think = max(think, pause)
		}
		if think <= 0 {
			continue
		}
		timer := time.NewTimer(think)
		select {
		case <-timer.C:
		case <-quit.Done():
			timer.Stop()
		}
	}
}

// think returns the present stage and how long a user waits after the next answer.
func (g *Generator) think() (scenario.Stage, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	stage := g.load.Stages[min(max(g.stage, 0), len(g.load.Stages)-1)]
	if stage.Users == nil {
		return stage, 0
	}
	u := stage.Users
	return stage, u.Think + rand.N(u.ThinkMost-u.Think+1)
}

// shoot makes one request of a user.
func (g *Generator) shoot(ctx context.Context, stage scenario.Stage) Shot {
	g.sent.Add(1)
	s := Shot{Load: g.load.Name, Stage: stage.Name, Turn: stage.Turn, Closed: true}
	ctx, cancel := context.WithTimeout(ctx, g.load.Target.Timeout)
	defer cancel()
	ctx, c := watch(ctx)
	body, header := g.target.next()
	req, err := http.NewRequestWithContext(ctx, g.target.method, g.target.url, bytes.NewReader(body))
	s.Sent = time.Now()
	s.Due = s.Sent
	if err == nil {
		req.Header = header
		var resp *http.Response
		if resp, err = g.client.Do(req); err == nil {
			err = s.readAnswer(resp)
			_ = resp.Body.Close() // it was read to its end
		}
	}
	s.Latency, s.Connecting, s.Opened = time.Since(s.Sent), c.took, c.opened
	if err != nil {
		s.failed(err.Error())
	}
	return s
}
