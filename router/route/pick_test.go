package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPick(t *testing.T) {
	t.Parallel()
	table := mustTable(t, sample())
	first := Target{Model: "imagenet", Revision: "imagenet-00001", Version: 1, Tag: "lite0", Why: WhyTraffic}
	second := Target{Model: "imagenet", Revision: "imagenet-00002", Version: 2, Tag: "lite2", Why: WhyTraffic}
	why := func(target Target, why string) Target { target.Why = why; return target }
	stable := why(first, WhyTag)
	stable.Tag = "stable"
	slow := Target{Model: "imagenet", Revision: "imagenet-00003", Version: 2, Tag: "slow", Why: WhyVersion}
	tests := []struct {
		name   string
		hints  Hints
		random uint64
		want   Target
		is     error
		text   string
	}{
		{name: "traffic, low", hints: Hints{Model: "imagenet"}, want: first},
		{name: "traffic, under the edge", hints: Hints{Model: "imagenet"}, random: ^uint64(0)/100*80 - 1000, want: first},
		{name: "traffic, over the edge", hints: Hints{Model: "imagenet"}, random: ^uint64(0)/100*80 + 1000, want: second},
		{name: "traffic, high", hints: Hints{Model: "imagenet"}, random: ^uint64(0), want: second},
		{name: "host", hints: Hints{Host: "imagenet.default.localhost"}, want: first},
		{name: "tag host", hints: Hints{Host: "lite2-imagenet.default.localhost"}, want: why(second, WhyTag)},
		{name: "tag host over tag", hints: Hints{Host: "lite2-imagenet.default.localhost", Tag: "lite0"}, want: why(second, WhyTag)},
		{name: "host and tag", hints: Hints{Host: "imagenet.default.localhost", Tag: "lite2"}, want: why(second, WhyTag)},
		{name: "event type", hints: Hints{EventType: "com.example.photo"}, want: first},
		{name: "model over host", hints: Hints{Model: "imagenet", Host: "embed.default.localhost", EventType: "x"}, want: first},
		{name: "second tag", hints: Hints{Model: "imagenet", Tag: "stable"}, want: stable},
		{name: "version", hints: Hints{Model: "imagenet", Version: 1}, want: why(first, WhyVersion)},
		{name: "version of two revisions", hints: Hints{Model: "imagenet", Version: 2}, want: why(second, WhyVersion)},
		{name: "version and tag", hints: Hints{Model: "imagenet", Version: 2, Tag: "slow"}, want: slow},
		{name: "version over tag", hints: Hints{Model: "imagenet", Version: 2, Tag: "lite0"}, want: why(second, WhyVersion)},
		{name: "revision", hints: Hints{Model: "imagenet", Revision: "imagenet-00002"}, want: why(second, WhyRevision)},
		{name: "nothing ready", hints: Hints{Model: "embed"}, random: ^uint64(0),
			want: Target{Model: "embed", Revision: "embed-00001", Version: 1, Why: WhyTraffic}},
		{name: "nothing ready, session", hints: Hints{Model: "embed", Session: "s"},
			want: Target{Model: "embed", Revision: "embed-00001", Version: 1, Why: WhySession}},
		{name: "no model by host", hints: Hints{Host: "shop.default.localhost"},
			want: Target{Model: "shop", Revision: "shop-00001", Why: WhyTraffic}},
		{name: "unknown model", hints: Hints{Model: "x"}, is: ErrNoModel, text: `no such model "x": there are embed, imagenet, quiet`},
		{name: "host-only by name", hints: Hints{Model: "shop"}, is: ErrNoModel, text: `no such model "shop": there are embed, imagenet, quiet`},
		{name: "unknown host", hints: Hints{Host: "x"}, is: ErrNoModel, text: `no such model at host "x": there are embed, imagenet, quiet`},
		{name: "unknown type", hints: Hints{EventType: "x"}, is: ErrNoModel, text: `no such model for events of type "x": there are embed, imagenet, quiet`},
		{name: "no hint", is: ErrNoModel, text: `no such model: none was named; there are embed, imagenet, quiet`},
		{name: "unknown version", hints: Hints{Model: "imagenet", Version: 9}, is: ErrNoRevision,
			text: `no such revision: model "imagenet" has no version 9: there are 1, 2`},
		{name: "unknown tag", hints: Hints{Model: "quiet", Tag: "x"}, is: ErrNoRevision,
			text: `no such revision: model "quiet" has no tag "x": there is only dark`},
		{name: "unknown revision", hints: Hints{Model: "embed", Revision: "x"}, is: ErrNoRevision,
			text: `no such revision: model "embed" has no revision "x": there is only embed-00001`},
		{name: "only tags", hints: Hints{Model: "quiet"}, is: ErrNoRevision,
			text: `no such revision: model "quiet" has no traffic but by tag: there is only dark`},
		{name: "tag of a model without", hints: Hints{Model: "embed", Tag: "x"}, is: ErrNoRevision,
			text: `no such revision: model "embed" has no tag "x": there are none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := table.Pick(tt.hints, tt.random)
			if !errors.Is(err, tt.is) || tt.is != nil && err.Error() != tt.text {
				t.Fatalf("error %v, want %q", err, tt.text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("target (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNotReadyGetsNoShare(t *testing.T) {
	t.Parallel()
	ms := sample()
	ms[0].Revisions[0].Ready = false
	table := mustTable(t, ms)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		for _, h := range []Hints{{Model: "imagenet"}, {Model: "imagenet", Session: fmt.Sprint(i)}} {
			if got, err := table.Pick(h, rng.Uint64()); err != nil || got.Revision != "imagenet-00002" {
				t.Fatalf("Pick = %+v, %v; want the ready revision", got, err)
			}
		}
	}
}

// splits are tried for both ways of choosing.
var splits = [][]int{{80, 20}, {50, 30, 20}, {99, 1}, {1, 98, 1}, {10, 20, 30, 40}, {100, 0}}

func splitTable(t testing.TB, split []int) *Table {
	m := Model{Name: "m"}
	for i, p := range split {
		m.Revisions = append(m.Revisions, Revision{Name: fmt.Sprintf("m-%05d", i+1), Percent: p, Ready: true})
	}
	return mustTable(t, []Model{m})
}

// chiSquareLimit is the 99.9 % quantile for up to 3 degrees of freedom. The draws are seeded: the test never flickers.
const chiSquareLimit = 16.27

func TestSharesFollowPercentages(t *testing.T) {
	t.Parallel()
	const draws = 100_000
	for _, split := range splits {
		for _, way := range []string{WhyTraffic, WhySession} {
			t.Run(fmt.Sprint(split, way), func(t *testing.T) {
				t.Parallel()
				table := splitTable(t, split)
				rng := rand.New(rand.NewPCG(3, 4))
				counts := map[string]int{}
				for i := range draws {
					h := Hints{Model: "m"}
					if way == WhySession {
						h.Session = fmt.Sprintf("session-%d", i)
					}
					got, err := table.Pick(h, rng.Uint64())
					if err != nil || got.Why != way {
						t.Fatalf("Pick = %+v, %v", got, err)
					}
					counts[got.Revision]++
				}
				chi := 0.0
				for i, p := range split {
					got, want := float64(counts[fmt.Sprintf("m-%05d", i+1)]), float64(p)*draws/100
					if want == 0 && got != 0 {
						t.Fatalf("revision %d has no share and got %v", i+1, got)
					}
					if want > 0 {
						chi += (got - want) * (got - want) / want
					}
				}
				if chi > chiSquareLimit {
					t.Errorf("chi-square %.2f over %.2f: %v", chi, chiSquareLimit, counts)
				}
			})
		}
	}
}

// TestSessionsMoveNoMoreThanTheyMust checks that a session leaves only a revision whose share fell or goes only to one
// whose share rose, and with two revisions that no more of them move than the shares did.
func TestSessionsMoveNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	const sessions = 20_000
	tests := []struct {
		before, after []int
		moved         float64 // the largest share of sessions that may move
	}{
		{[]int{80, 20}, []int{70, 30}, 0.10},
		{[]int{100, 0}, []int{90, 10}, 0.10},
		{[]int{90, 10}, []int{0, 100}, 0.90},
		{[]int{50, 30, 20}, []int{40, 40, 20}, 0.15},
		{[]int{50, 30, 20}, []int{50, 30, 20}, 0},
		{[]int{50, 50, 0}, []int{45, 45, 10}, 0.10},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.before, tt.after), func(t *testing.T) {
			t.Parallel()
			before, after := splitTable(t, tt.before), splitTable(t, tt.after)
			share := func(split []int, rev string) int {
				var i int
				if _, err := fmt.Sscanf(rev, "m-%05d", &i); err != nil {
					t.Fatal(err)
				}
				return split[i-1]
			}
			moved := 0
			for i := range sessions {
				h := Hints{Model: "m", Session: fmt.Sprintf("caller-%d", i)}
				a, errA := before.Pick(h, 0)
				b, errB := after.Pick(h, 1)
				if err := errors.Join(errA, errB); err != nil {
					t.Fatal(err)
				}
				if a.Revision == b.Revision {
					continue
				}
				moved++
				fell := share(tt.after, a.Revision) < share(tt.before, a.Revision)
				rose := share(tt.after, b.Revision) > share(tt.before, b.Revision)
				if !fell && !rose {
					t.Fatalf("session %d moved from %s to %s for nothing", i, a.Revision, b.Revision)
				}
			}
			if got := float64(moved) / sessions; got > tt.moved+0.01 {
				t.Errorf("%.3f of the sessions moved, want at most %.2f", got, tt.moved)
			}
		})
	}
}

func TestSessionsStay(t *testing.T) {
	t.Parallel()
	a, b := splitTable(t, []int{50, 50}), splitTable(t, []int{50, 50})
	for i := range 1000 {
		h := Hints{Model: "m", Session: fmt.Sprint(i)}
		x, _ := a.Pick(h, uint64(i))
		y, _ := b.Pick(h, ^uint64(i))
		if x != y {
			t.Fatalf("session %d: %+v, then %+v", i, x, y)
		}
	}
}

// hotHints are the ways that a serving router picks, none of which may allocate.
var hotHints = map[string]Hints{
	"traffic": {Model: "imagenet"},
	"session": {Model: "imagenet", Session: "0123456789abcdef"},
	"tag":     {Model: "imagenet", Tag: "lite2"},
	"version": {Model: "imagenet", Version: 2},
	"host":    {Host: "lite2-imagenet.default.localhost"},
}

func TestPickDoesNotAllocate(t *testing.T) {
	table := mustTable(t, sample())
	for name, h := range hotHints {
		if n := testing.AllocsPerRun(100, func() { _, _ = table.Pick(h, 42) }); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	table := mustTable(b, sample())
	for name, h := range hotHints {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if _, err := table.Pick(h, uint64(i)*0x9e3779b97f4a7c15); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
