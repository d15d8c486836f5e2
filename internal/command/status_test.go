package command

import (
	"strings"
	"testing"

	"weir.dev/weir/knative"
)

// TestUnknownFigures shows a dash, not a zero, for what an engine does not tell.
func TestUnknownFigures(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := knative.RevisionStatus{Name: "half-1", State: knative.StateReady, Concurrency: 2.5, Unknown: []knative.Figure{knative.FigureQueue, knative.FigureRPS}}
	if err := printStatus(&out, []knative.ServiceStatus{{Name: "half", Revisions: []knative.RevisionStatus{r}}}, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if got := strings.Join(strings.Fields(lines[1]), " "); got != "half half-1 - 0% 0/0 2.5 - - Ready" {
		t.Errorf("%s", got)
	}
}
