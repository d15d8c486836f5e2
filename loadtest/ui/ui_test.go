package ui

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/internal/browser"
	"weir.dev/weir/internal/soon"
	"weir.dev/weir/loadtest"
	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/loadtest/scenario"
)

// served is a Server over real sessions against a target of the test's own.
type served struct {
	address  string
	requests *atomic.Int64
	finished chan measure.Run
	end      func() error
}

func serve(t *testing.T, loads ...scenario.Load) *served {
	t.Helper()
	s := &served{requests: &atomic.Int64{}, finished: make(chan measure.Run, 8)}
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.requests.Add(1)%5 == 0 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, `{"error": "the queue of 40 is full"}`, http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(target.Close)
	sc := &scenario.Scenario{Name: "watched", Loads: loads}
	for i := range sc.Loads {
		sc.Loads[i].Target = scenario.Target{URL: target.URL, Timeout: time.Second}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	srv := New(Options{
		Start:  func(ctx context.Context) (Session, error) { return loadtest.Start(ctx, loadtest.Options{Scenario: sc}) },
		Finish: func(run measure.Run) (string, error) { s.finished <- run; return "somewhere/report.html", nil },
	})
	go func() { done <- srv.Serve(ctx, ln) }()
	s.end = func() error { cancel(); return soon.Next(t, "the server's end", done) }
	return s
}

// watch asks for the run, as the page does but more often, until it is as wanted.
func (s *served) watch(t *testing.T, wanted func(measure.Run) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address+"/api/run", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var answer runAnswer
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.Run != nil && wanted(*answer.Run) {
			return
		}
		<-tick.C
	}
}

func users(n int) scenario.Load {
	return scenario.Load{Name: "echo", Stages: []scenario.Stage{{
		Name: "steady", Duration: time.Minute, Users: &scenario.Users{From: n, To: n, Think: 20 * time.Millisecond, ThinkMost: 20 * time.Millisecond},
	}}}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := serve(t, users(2))
	b := browser.Start(t)
	tab := b.Tab(t, browser.Options{Timeout: 2 * time.Minute})
	tab.Open(s.address + "/")
	tab.WaitText("#state", "Running: steady")
	tab.WaitText("[data-table=failures]", "the queue of N is full")
	tab.WaitFor(`document.querySelectorAll("[data-chart]:not([hidden])").length >= 3`)

	// Another number of users: the run follows.
	tab.Eval(`(() => { const i = document.querySelector("#loads input"); i.value = 7; i.dispatchEvent(new Event("input")); })()`, nil)
	tab.Eval(`document.querySelector("#loads button").click()`, nil)
	tab.WaitFor(`document.querySelector("[data-chart=load] .legend b").textContent === "7"`)

	// What is no number changes nothing, and is said until something else is asked.
	for typed, says := range map[string]string{"": "expected a number", "-3": "expected 0 to 20000 users, not -3"} {
		tab.Eval(fmt.Sprintf(`(() => { const i = document.querySelector("#loads input"); i.value = %q; i.dispatchEvent(new Event("input")); })()`, typed), nil)
		tab.Eval(`document.querySelector("#loads button").click()`, nil)
		tab.WaitText("#problem", says)
		tab.Eval(`window.asked = () => performance.getEntriesByType("resource").filter((e) => e.name.includes("api/run")).length; window.seen = asked()`, nil)
		tab.WaitFor(`asked() >= window.seen + 2`)
		tab.WaitText("#problem", says)
	}
	s.watch(t, func(run measure.Run) bool { return run.Rows[len(run.Rows)-1].Users == 7 })
	tab.Eval(`(() => { const i = document.querySelector("#loads input"); i.value = 7; i.dispatchEvent(new Event("input")); })()`, nil)
	tab.Eval(`document.querySelector("#loads button").click()`, nil)
	tab.WaitFor(`document.querySelector("#problem").textContent === ""`)

	for _, size := range []struct {
		name  string
		width int64
	}{{"wide", 1280}, {"narrow", 400}} {
		other := b.Tab(t, browser.Options{Width: size.width, Height: 900})
		other.Open(s.address + "/")
		other.WaitText("#state", "Running")
		other.WaitText("[data-table=summaries]", "steady")
		var wide int
		other.Eval("document.documentElement.scrollWidth - innerWidth", &wide)
		if wide > 0 {
			t.Errorf("%s: the page is %d pixels wider than its window", size.name, wide)
		}
		keep(t, "live-"+size.name+".png", other.Screenshot(""))
	}

	tab.Eval(`document.querySelector("#stop").click()`, nil)
	tab.WaitText("#state", "Ended. Report: somewhere/report.html")
	tab.WaitText(".notes", "ended before its time")
	run := soon.Next(t, "the run", s.finished)
	if sum := run.Summaries[0]; sum.Requests == 0 || sum.Requests != int(s.requests.Load()) || sum.Refused != sum.Requests/5 || sum.Hasty != 0 {
		t.Errorf("the run counted %d requests, %d refused, %d without Retry-After; the target %d", sum.Requests, sum.Refused, sum.Hasty, s.requests.Load())
	}
	after := s.requests.Load()
	tab.Eval(`document.querySelector("#start").click()`, nil)
	tab.WaitText("#state", "Running")
	tab.WaitFor(`document.querySelectorAll("article.run").length === 1`)
	if err := s.end(); err != nil {
		t.Error(err)
	}
	if s.requests.Load() <= after {
		t.Error("the second run sent nothing")
	}
	tab.WaitText("#state", "Lost the connection")
	for _, r := range tab.Requests() {
		if !strings.HasPrefix(r, s.address+"/") {
			t.Errorf("the page asked %s", r)
		}
	}
	for _, p := range tab.Problems() {
		if !strings.Contains(p, "ERR_CONNECTION_REFUSED") && !strings.Contains(p, "400 (Bad Request)") {
			t.Errorf("the page complained: %s", p)
		}
	}
}

// TestAChangeHoldsUntilTheRunEnds: the next stage would have another number of users.
func TestAChangeHoldsUntilTheRunEnds(t *testing.T) {
	t.Parallel()
	tab := browser.Start(t).Tab(t, browser.Options{Timeout: 2 * time.Minute})
	load := users(2)
	load.Stages = append(load.Stages, load.Stages[0])
	load.Stages[0].Duration, load.Stages[1].Name = 8*time.Second, "next"
	s := serve(t, load)
	tab.Open(s.address + "/")
	tab.WaitText("#state", "Running: steady")
	tab.WaitText("#holds", "until the next one or the end of the run")
	tab.Eval(`(() => { const i = document.querySelector("#loads input"); i.value = 7; i.dispatchEvent(new Event("input")); })()`, nil)
	tab.Eval(`document.querySelector("#loads button").click()`, nil)
	tab.WaitText("#loads", "echo: users (changed)")
	tab.WaitText("#state", "Running: next")
	tab.WaitText("[data-table=summaries]", "next")
	s.watch(t, func(run measure.Run) bool {
		return len(run.Stages) == 2 && run.Rows[len(run.Rows)-1].T > run.Stages[1].Begin+2
	})
	tab.Eval(`document.querySelector("#stop").click()`, nil)
	tab.WaitText("#state", "Ended. Report")
	if err := s.end(); err != nil {
		t.Error(err)
	}
	run := soon.Next(t, "the run", s.finished)
	begin := run.Stages[1].Begin
	for _, row := range run.Rows[:len(run.Rows)-1] { // in the last one they have left
		if row.T > begin+1 && row.Users != 7 {
			t.Errorf("%d users at %.0f s, in the stage after the change; want 7", row.Users, row.T)
		}
	}
}

// keep writes a screenshot to $SCREENSHOTS for people, if that is set.
func keep(t *testing.T, name string, png []byte) {
	t.Helper()
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	s := serve(t, users(1))
	defer func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	}()
	do := func(method, path, body string, header map[string]string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			if k == "Host" {
				req.Host = v
			}
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
	s.watch(t, func(measure.Run) bool { return true })
	for _, tt := range []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
		says                     string
	}{
		{name: "page", method: "GET", path: "/", status: 200, says: "weir load"},
		{name: "start twice", method: "POST", path: "/api/start", status: 409, says: "stop it first"},
		{name: "users below zero", method: "POST", path: "/api/set", body: `{"load": 0, "users": -1}`, status: 400, says: "expected 0 to"},
		{name: "rate above all", method: "POST", path: "/api/set", body: `{"load": 0, "rate": 1e9}`, status: 400, says: "expected 0 to"},
		{name: "no such load", method: "POST", path: "/api/set", body: `{"load": 3, "users": 1}`, status: 400, says: "there is no load 3"},
		{name: "not JSON", method: "POST", path: "/api/set", body: `users=1`, status: 400, says: "expected {"},
		{name: "another site", method: "POST", path: "/api/stop", header: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		{name: "another name", method: "GET", path: "/api/run", header: map[string]string{"Host": "evil.example"}, status: 403, says: "localhost"},
		{name: "no such file", method: "GET", path: "/download/secrets.csv", status: 404, says: "no file"},
	} {
		if status, body := do(tt.method, tt.path, tt.body, tt.header); status != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d %.100q, want %d and %q", tt.name, status, body, tt.status, tt.says)
		}
	}
	status, body := do("GET", "/download/seconds.csv", "", nil)
	if rows, err := csv.NewReader(bytes.NewReader([]byte(body))).ReadAll(); status != 200 || err != nil || len(rows) < 1 || rows[0][0] != "seconds" {
		t.Errorf("seconds.csv: %d, %v, %v", status, err, rows)
	}
}
