package report

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"

	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/router/web"
)

//go:embed page
var page embed.FS

// Asset returns a file of the page: view.js, page.css. The live page has the same.
func Asset(name string) []byte {
	data, err := page.ReadFile("page/" + name)
	if err != nil {
		panic(fmt.Sprintf("report: %v", err))
	}
	return data
}

// HTML writes a run as one page that asks nothing of any host.
func HTML(w io.Writer, run measure.Run) error {
	return pageOf(w, "Load: "+run.Scenario, []measure.Run{run})
}

// Compare writes two runs side by side as one page.
func Compare(w io.Writer, a, b measure.Run) error {
	return pageOf(w, "Load: "+a.Scenario+" and "+b.Scenario, []measure.Run{a, b})
}

func pageOf(w io.Writer, title string, runs []measure.Run) error {
	t, err := template.ParseFS(page, "page/report.html")
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	data, err := json.Marshal(runs) // <, > and & are escaped: no text of a run ends the script
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return t.Execute(w, map[string]any{
		"Title":  title,
		"Style":  template.CSS(concat(web.Asset("base.css"), web.Asset("vendor/uplot/uPlot.min.css"), Asset("page.css"))),
		"Script": template.JS(concat(web.Asset("vendor/uplot/uPlot.iife.min.js"), Asset("view.js"))),
		"Data":   template.JS(data),
	})
}

func concat(parts ...[]byte) string {
	var all []byte
	for _, p := range parts {
		all = append(append(all, p...), '\n')
	}
	return string(all)
}
