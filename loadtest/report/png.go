package report

import (
	"fmt"
	"image/color"
	"io"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"weir.dev/weir/loadtest/measure"
)

// The colours of Okabe and Ito, which people with the usual kinds of colour blindness tell apart.
var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
}

// line is one line of a panel; a nil value is a gap.
type line struct {
	name   string
	dashed bool
	get    func(measure.Row) *float64
	rows   []measure.Row // of another run than the picture's; nil for its own
}

func always(get func(measure.Row) float64) func(measure.Row) *float64 {
	return func(r measure.Row) *float64 {
		v := get(r)
		return &v
	}
}

// panel is one chart of the picture.
type panel struct {
	title string
	lines []line
}

func panels(run measure.Run) []panel {
	replicas, cpu := panel{title: "replicas (dashed: wanted)"}, panel{title: "processors used"}
	for _, rev := range run.Revisions {
		if !active(run, rev.Name) {
			continue
		}
		of := func(get func(measure.RevisionRow) float64) func(measure.Row) *float64 {
			return func(r measure.Row) *float64 {
				x, ok := r.Revisions[rev.Name]
				if !ok {
					return nil
				}
				v := get(x)
				return &v
			}
		}
		replicas.lines = append(replicas.lines,
			line{name: rev.Name, get: of(func(x measure.RevisionRow) float64 { return float64(x.Ready) })},
			line{dashed: true, get: of(func(x measure.RevisionRow) float64 { return float64(x.Wanted) })})
		cpu.lines = append(cpu.lines, line{name: rev.Name, get: of(func(x measure.RevisionRow) float64 { return x.CPU })})
	}
	cpu.lines = append(cpu.lines, line{name: "sender", dashed: true, get: always(func(r measure.Row) float64 { return r.Generator })})
	return []panel{
		{title: "users, arrivals/s wanted", lines: []line{
			{name: "users", get: always(func(r measure.Row) float64 { return float64(r.Users) })},
			{name: "arrivals/s", get: always(func(r measure.Row) float64 { return r.Rate })},
		}},
		{title: "requests/s", lines: []line{
			{name: "answered", get: always(func(r measure.Row) float64 { return r.OK })},
			{name: "refused", get: always(func(r measure.Row) float64 { return r.Refused })},
			{name: "failed", get: always(func(r measure.Row) float64 { return r.Failed })},
		}},
		{title: "latency, ms", lines: []line{
			{name: "p50", get: func(r measure.Row) *float64 { return r.P50 }},
			{name: "p95", get: func(r measure.Row) *float64 { return r.P95 }},
			{name: "p99", get: func(r measure.Row) *float64 { return r.P99 }},
		}},
		replicas, cpu,
	}
}

// active says that a revision had or was to have a replica.
func active(run measure.Run, revision string) bool {
	for _, r := range run.Rows {
		if x := r.Revisions[revision]; x.Ready > 0 || x.Wanted > 0 {
			return true
		}
	}
	return false
}

const (
	pictureWidth = 10 * vg.Inch
	panelHeight  = 1.7 * vg.Inch
	pictureDPI   = 80
)

// PNG writes the charts as one small picture.
func PNG(w io.Writer, run measure.Run) error {
	return picture(w, run, run.Scenario, panels(run))
}

// loaded says that a load was for a revision: a cluster has others, which would hide it in a sum. If the run knows none, all count.
func loaded(run measure.Run, revision string) bool {
	return len(run.Targets) == 0 || slices.ContainsFunc(run.Revisions, func(r measure.Revision) bool {
		return r.Name == revision && slices.Contains(run.Targets, r.Service)
	})
}

// ComparePNG writes a picture of two runs with the lines of both in each chart.
func ComparePNG(w io.Writer, a, b measure.Run) error {
	names := []string{a.Engine, b.Engine}
	if a.Engine == b.Engine {
		names = []string{a.Scenario, b.Scenario}
	}
	both := func(title string, ofA, ofB func(measure.Row) *float64) panel {
		return panel{title: title, lines: []line{{name: names[0], get: ofA, rows: a.Rows}, {name: names[1], get: ofB, rows: b.Rows}}}
	}
	answered := always(func(r measure.Row) float64 { return r.OK })
	p95 := func(r measure.Row) *float64 { return r.P95 }
	wanted := func(x measure.RevisionRow) int { return x.Wanted }
	ready := func(x measure.RevisionRow) int { return x.Ready }
	longer := a
	if b.Seconds > a.Seconds {
		longer = b
	}
	title := a.Scenario
	if b.Scenario != a.Scenario {
		title += " and " + b.Scenario
	}
	return picture(w, longer, title, []panel{
		both("answered/s", answered, answered),
		both("replicas wanted", replicas(a, wanted), replicas(b, wanted)),
		both("replicas ready", replicas(a, ready), replicas(b, ready)),
		both("p95, ms", p95, p95),
	})
}

// replicas sums a number over the revisions that a run's loads were for; it is nil where the engine did not answer.
func replicas(run measure.Run, of func(measure.RevisionRow) int) func(measure.Row) *float64 {
	return func(r measure.Row) *float64 {
		if r.Revisions == nil {
			return nil
		}
		sum := 0.0
		for name, x := range r.Revisions {
			if loaded(run, name) {
				sum += float64(of(x))
			}
		}
		return &sum
	}
}

// picture draws charts one below the other over the run's time.
func picture(w io.Writer, run measure.Run, title string, all []panel) error {
	rows := make([][]*plot.Plot, 0, len(all))
	for i, p := range all {
		chart, err := p.draw(run, i == len(all)-1)
		if err != nil {
			return fmt.Errorf("picture: %w", err)
		}
		rows = append(rows, []*plot.Plot{chart})
	}
	rows[0][0].Title.Text = title
	img := vgimg.NewWith(vgimg.UseWH(pictureWidth, panelHeight*vg.Length(len(all))), vgimg.UseDPI(pictureDPI))
	tiles := draw.Tiles{Rows: len(all), Cols: 1, PadTop: 4, PadBottom: 4, PadLeft: 6, PadRight: 10, PadY: 6}
	canvases := plot.Align(rows, tiles, draw.New(img))
	for i := range rows {
		rows[i][0].Draw(canvases[i][0])
	}
	_, err := vgimg.PngCanvas{Canvas: img}.WriteTo(w)
	return err
}

func (p panel) draw(run measure.Run, last bool) (*plot.Plot, error) {
	chart := plot.New()
	chart.Y.Label.Text = p.title
	chart.Y.Min, chart.X.Min = 0, 0
	chart.X.Max = max(1, run.Seconds) * 1.25 // the legend stands beside the lines
	chart.Legend.Top = true
	chart.Add(plotter.NewGrid())
	if last {
		chart.X.Label.Text = "seconds"
	}
	tint := -1
	for _, l := range p.lines {
		if l.name != "" {
			tint++
		}
		for i, piece := range pieces(run, l) {
			drawn, err := plotter.NewLine(piece)
			if err != nil {
				return nil, err
			}
			drawn.Color, drawn.Width = colors[max(0, tint)%len(colors)], vg.Points(1.3)
			if l.dashed {
				drawn.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			}
			chart.Add(drawn)
			if i == 0 && l.name != "" {
				chart.Legend.Add(l.name, drawn)
			}
		}
	}
	chart.Y.Max = max(chart.Y.Max*1.05, 1)
	return chart, nil
}

// pieces are a line's points between its gaps.
func pieces(run measure.Run, l line) []plotter.XYs {
	var all []plotter.XYs
	var now plotter.XYs
	rows := run.Rows
	if l.rows != nil {
		rows = l.rows
	}
	for _, r := range rows {
		v := l.get(r)
		if v == nil {
			if len(now) > 0 {
				all, now = append(all, now), nil
			}
			continue
		}
		now = append(now, plotter.XY{X: r.T, Y: *v})
	}
	if len(now) > 0 {
		all = append(all, now)
	}
	return all
}
