package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"weir.dev/weir/internal/strictyaml"
)

// fileTime is a time as it stands in the file: a wrong one is told with its line.
type fileTime string

// Expected implements strictyaml.Expected.
func (fileTime) Expected() string { return "a time such as 30s or 1m30s" }

// The file's shape.
type (
	file struct {
		Name       string       `json:"name"`
		Look       string       `json:"look"`
		Services   []string     `json:"services"`
		Target     *fileTarget  `json:"target"`
		Inputs     *fileInputs  `json:"inputs"`
		Stages     []fileStage  `json:"stages"`
		Loads      []fileLoad   `json:"loads"`
		Changes    []fileChange `json:"changes"`
		Tail       fileTime     `json:"tail"`
		Thresholds []string     `json:"thresholds"`
	}
	fileLoad struct {
		Name   string      `json:"name"`
		Target *fileTarget `json:"target"`
		Inputs *fileInputs `json:"inputs"`
		Stages []fileStage `json:"stages"`
	}
	fileTarget struct {
		Model   string   `json:"model"`
		Tag     string   `json:"tag"`
		Version int64    `json:"version"`
		API     string   `json:"api"`
		URL     string   `json:"url"`
		Timeout fileTime `json:"timeout"`
	}
	fileInputs struct {
		Images string `json:"images"`
		Bodies string `json:"bodies"`
	}
	fileStage struct {
		Name     string     `json:"name"`
		Duration fileTime   `json:"duration"`
		Users    *int       `json:"users"`
		Rate     *float64   `json:"rate"`
		From     *float64   `json:"from"`
		Think    fileTime   `json:"think"`
		Sine     *fileSine  `json:"sine"`
		Spike    *fileSpike `json:"spike"`
		Replay   string     `json:"replay"`
		Speed    *float64   `json:"speed"`

		Repeat *int        `json:"repeat"`
		Stages []fileStage `json:"stages"`
	}
	fileSine struct {
		Amplitude float64  `json:"amplitude"`
		Period    fileTime `json:"period"`
	}
	fileSpike struct {
		To  float64  `json:"to"`
		At  fileTime `json:"at"`
		For fileTime `json:"for"`
	}
	fileChange struct {
		At    fileTime `json:"at"`
		Apply string   `json:"apply"`
	}
)

// Bounds of what a scenario may ask: more is a slip of the finger or would measure this machine's limits.
const (
	maxUsers    = 20_000
	maxRate     = 50_000
	maxDuration = 24 * time.Hour
	maxRepeat   = 1000
)

// defaultTimeout bounds a request whose target does not say how long it may take.
const defaultTimeout = 60 * time.Second

// reader collects what is wrong with a file.
type reader struct {
	doc      *strictyaml.Document
	dir      string
	problems []error
}

// Read reads a scenario. Paths in it are relative to it. All problems are told at once, each with the file's line and
// what was expected.
func Read(path string) (*Scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	doc, err := strictyaml.Parse(path, data)
	if err != nil {
		return nil, err
	}
	if doc.Empty() {
		return nil, doc.Errorf("", "the scenario is empty: expected target, inputs and stages")
	}
	var f file
	if err := doc.Decode(&f); err != nil {
		return nil, err
	}
	r := &reader{doc: doc, dir: filepath.Dir(path)}
	s := r.scenario(f)
	s.File = path
	s.Name = cmp.Or(s.Name, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	if err := errors.Join(r.problems...); err != nil {
		return nil, err
	}
	return s, nil
}

// wrong notes a problem at a field.
func (r *reader) wrong(path, format string, args ...any) {
	r.problems = append(r.problems, r.doc.Errorf(path, path+": "+format, args...))
}

func (r *reader) scenario(f file) *Scenario {
	s := &Scenario{Name: f.Name, Look: folded(f.Look)}
	short := f.Target != nil || f.Inputs != nil || len(f.Stages) > 0
	switch {
	case short && len(f.Loads) > 0:
		r.wrong("loads", "expected either loads, or one target with its inputs and stages")
	case short:
		s.Loads = []Load{r.load("", fileLoad{Target: f.Target, Inputs: f.Inputs, Stages: f.Stages})}
	case len(f.Loads) == 0:
		r.wrong("stages", "expected a target and at least one stage, or loads")
	default:
		names := map[string]bool{}
		for i, l := range f.Loads {
			load := r.load(fmt.Sprintf("loads[%d].", i), l)
			if names[load.Name] {
				r.wrong(fmt.Sprintf("loads[%d]", i), "a second load is named %q: expected a name of its own", load.Name)
			}
			names[load.Name] = true
			s.Loads = append(s.Loads, load)
		}
	}
	for i, m := range f.Services {
		s.Services = append(s.Services, r.file(fmt.Sprintf("services[%d]", i), m))
	}
	s.Tail = r.duration("tail", cmp.Or(f.Tail, "0s"), 0)
	for i, c := range f.Changes {
		at := fmt.Sprintf("changes[%d]", i)
		change := Change{At: r.duration(at+".at", c.At, 0), Manifest: r.file(at+".apply", c.Apply)}
		if i > 0 && change.At < s.Changes[i-1].At {
			r.wrong(at+".at", "expected changes in the order of their times")
		}
		if end := s.Duration() + s.Tail; change.At >= end {
			r.wrong(at+".at", "expected a time before the run's end at %v, not %v", end, change.At)
		}
		s.Changes = append(s.Changes, change)
	}
	for i, text := range f.Thresholds {
		th, err := ParseThreshold(text)
		if err != nil {
			r.wrong(fmt.Sprintf("thresholds[%d]", i), "%w", err)
		}
		s.Thresholds = append(s.Thresholds, th)
	}
	r.scopes(s)
	return s
}

// folded is a text without the line breaks of the file; an empty line stays a new paragraph.
func folded(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

// scopes checks that thresholds of a stage or a load name one that there is.
func (r *reader) scopes(s *Scenario) {
	known := map[string]bool{"": true}
	for _, l := range s.Loads {
		known[l.Name] = true
		for _, st := range l.Stages {
			known[st.Name] = true
		}
	}
	for i, t := range s.Thresholds {
		if t.Metric != "" && !t.ofReplicas() && !known[t.Of] {
			r.wrong(fmt.Sprintf("thresholds[%d]", i), "there is no stage or load %q", t.Of)
		}
		if !known[t.Base] {
			r.wrong(fmt.Sprintf("thresholds[%d]", i), "there is no stage or load %q", t.Base)
		}
	}
}

func (r *reader) load(at string, f fileLoad) Load {
	l := Load{Name: f.Name}
	if f.Target == nil {
		r.wrong(at+"target", "expected the model to ask, as in target: {model: imagenet}")
	} else {
		l.Target = r.target(at+"target", *f.Target)
		l.Name = cmp.Or(l.Name, l.Target.Model, l.Target.URL)
		l.Inputs = r.inputs(at+"inputs", f.Inputs, l.Target)
	}
	if len(f.Stages) == 0 {
		r.wrong(at+"stages", "expected at least one stage, as in stages: [{users: 10, duration: 30s}]")
	}
	l.Stages = r.stages(at+"stages", f.Stages)
	turns := map[string]int{}
	for i := range l.Stages {
		s := &l.Stages[i]
		s.Turn = turns[s.Name]
		turns[s.Name]++
	}
	return l
}

// stages are the stages of a load one after the other, those that are repeated as often as they are.
func (r *reader) stages(at string, list []fileStage) []Stage {
	var all []Stage
	named := 0
	add := func(at string, f fileStage) Stage {
		named++
		s := r.stage(at, f)
		s.Name = cmp.Or(s.Name, fmt.Sprintf("stage %d", named))
		return s
	}
	for i, f := range list {
		at := fmt.Sprintf("%s[%d]", at, i)
		if f.Repeat == nil && len(f.Stages) == 0 {
			all = append(all, add(at, f))
			continue
		}
		times := r.repeat(at, f)
		var some []Stage
		for j, g := range f.Stages {
			some = append(some, add(fmt.Sprintf("%s.stages[%d]", at, j), g))
		}
		for range times {
			all = append(all, some...)
		}
	}
	return all
}

// repeat is how often the stages within a stage come; that is all which may be said there.
func (r *reader) repeat(at string, f fileStage) int {
	switch {
	case f.Repeat == nil || len(f.Stages) == 0:
		r.wrong(at, "expected repeat and stages together, as in {repeat: 3, stages: [{users: 10, duration: 5s}, {users: 20, duration: 5s}]}")
		return 0
	case *f.Repeat < 1 || *f.Repeat > maxRepeat:
		r.wrong(at+".repeat", "expected 1 to %d times, not %d", maxRepeat, *f.Repeat)
		return 0
	case !reflect.DeepEqual(f, fileStage{Repeat: f.Repeat, Stages: f.Stages}):
		r.wrong(at, "expected nothing beside repeat and stages: each of the stages says what it does")
	}
	return *f.Repeat
}

func (r *reader) target(at string, f fileTarget) Target {
	t := Target{Model: f.Model, Tag: f.Tag, Version: f.Version, API: API(cmp.Or(f.API, string(Bytes))), URL: f.URL}
	t.Timeout = r.duration(at+".timeout", cmp.Or(f.Timeout, fileTime(defaultTimeout.String())), time.Millisecond)
	switch {
	case f.Model == "" && f.URL == "":
		r.wrong(at, "expected a model, or a url")
	case f.Model != "" && f.URL != "":
		r.wrong(at+".url", "expected either a model or a url")
	case f.URL != "" && !isHTTP(f.URL):
		r.wrong(at+".url", "expected http://HOST… or https://HOST…, not %q", f.URL)
	}
	switch t.API {
	case Bytes, JSON, V2, Events, GRPC, Predict:
	default:
		r.wrong(at+".api", "expected bytes, json, v2, events, grpc or grpc-predict, not %q", f.API)
	}
	if f.Tag != "" && f.Version != 0 {
		r.wrong(at+".version", "expected either a tag or a version")
	}
	if f.Version < 0 {
		r.wrong(at+".version", "expected a version above 0, not %d", f.Version)
	}
	return t
}

// isHTTP says whether a text is a URL that requests can be sent to.
func isHTTP(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	_, err = strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	return err == nil
}

func (r *reader) stage(at string, f fileStage) Stage {
	s := Stage{Name: f.Name}
	if f.Repeat != nil || len(f.Stages) > 0 {
		r.wrong(at, "expected a stage, not stages that are repeated within others")
		return s
	}
	kinds := 0
	for _, given := range []bool{f.Users != nil, f.Rate != nil, f.Replay != ""} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		r.wrong(at, "expected one of users (closed loop), rate (open loop) or replay, got %d of them", kinds)
	case f.Users != nil:
		s.Users = r.users(at, f)
	case f.Rate != nil:
		s.Arrivals = r.arrivals(at, f)
	default:
		s.Arrivals = r.replay(at, f)
	}
	switch {
	case f.Duration != "":
		s.Duration = r.duration(at+".duration", f.Duration, time.Millisecond)
	case f.Replay != "" && s.Arrivals != nil && len(s.Arrivals.Trace) > 0:
		s.Duration = s.Arrivals.Trace[len(s.Arrivals.Trace)-1] + time.Second
	case f.Replay == "":
		r.wrong(at+".duration", "expected how long the stage lasts, such as 30s")
	}
	return s
}

func (r *reader) users(at string, f fileStage) *Users {
	u := &Users{From: *f.Users, To: *f.Users}
	if f.From != nil {
		u.From = int(*f.From)
		if *f.From != math.Trunc(*f.From) {
			r.wrong(at+".from", "expected a whole number of users, not %v", *f.From)
		}
	}
	few := func(field string, n int) {
		if n < 0 || n > maxUsers {
			r.wrong(at+"."+field, "expected 0 to %d users, not %d", maxUsers, n)
		}
	}
	few("users", u.To)
	if f.From != nil {
		few("from", u.From)
	}
	if f.Think != "" {
		low, high, between := strings.Cut(string(f.Think), "..")
		u.Think = r.duration(at+".think", fileTime(low), 0)
		u.ThinkMost = u.Think
		if between {
			u.ThinkMost = r.duration(at+".think", fileTime(high), 0)
		}
		if u.ThinkMost < u.Think {
			r.wrong(at+".think", "expected the shorter time first, such as 1s..3s, not %q", f.Think)
		}
	}
	if f.Sine != nil || f.Spike != nil || f.Speed != nil {
		r.wrong(at, "sine and spike go with rate, speed with replay, not with users")
	}
	return u
}

func (r *reader) arrivals(at string, f fileStage) *Arrivals {
	a := &Arrivals{From: *f.Rate, To: *f.Rate}
	if f.From != nil {
		a.From = *f.From
	}
	rate := func(field string, v float64) {
		if !(v >= 0 && v <= maxRate) {
			r.wrong(at+"."+field, "expected 0 to %d requests a second, not %v", maxRate, v)
		}
	}
	rate("rate", a.To)
	if f.From != nil {
		rate("from", a.From)
	}
	if f.Think != "" || f.Speed != nil {
		r.wrong(at, "think goes with users, speed with replay, not with rate")
	}
	if f.Sine != nil {
		a.Sine = &Sine{Amplitude: f.Sine.Amplitude, Period: r.duration(at+".sine.period", f.Sine.Period, time.Millisecond)}
		rate("sine.amplitude", a.Sine.Amplitude)
		if a.Sine.Amplitude > min(a.From, a.To) {
			r.wrong(at+".sine.amplitude", "expected at most the rate of %v, as the wave would go below zero", min(a.From, a.To))
		}
	}
	if f.Spike != nil {
		a.Spike = &Spike{
			To: f.Spike.To, At: r.duration(at+".spike.at", f.Spike.At, 0), For: r.duration(at+".spike.for", f.Spike.For, time.Millisecond),
		}
		rate("spike.to", a.Spike.To)
		if d, err := time.ParseDuration(string(f.Duration)); err == nil && a.Spike.At+a.Spike.For > d {
			r.wrong(at+".spike", "expected the spike to end within the stage's %s", f.Duration)
		}
	}
	return a
}

// duration reads a time of at least so much.
func (r *reader) duration(at string, text fileTime, least time.Duration) time.Duration {
	d, err := time.ParseDuration(string(text))
	if err != nil || d < least || d > maxDuration {
		r.wrong(at, "expected a time from %v to %v such as 30s or 1m30s, not %q", least, maxDuration, text)
	}
	return d
}

// file is the path of a file that is there.
func (r *reader) file(at, name string) string {
	if name == "" {
		r.wrong(at, "expected a file")
		return ""
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	if _, err := os.Stat(path); err != nil {
		r.wrong(at, "expected a file that is there: %w", err)
	}
	return path
}

// CheckLoad says whether users and a rate, as a person asks for them while a load runs, are possible.
func CheckLoad(users int, rate float64) error {
	if users < 0 || users > maxUsers {
		return fmt.Errorf("expected 0 to %d users, not %d", maxUsers, users)
	}
	if !(rate >= 0 && rate <= maxRate) {
		return fmt.Errorf("expected 0 to %d requests a second, not %v", maxRate, rate)
	}
	return nil
}
