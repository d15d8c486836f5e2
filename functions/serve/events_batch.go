package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"weir.dev/weir/internal/server"
)

// serveBatch answers a batch of events with a batch of as many, in the same order: a prediction or an error for each.
func (s *Server) serveBatch(st *state, w http.ResponseWriter, r *http.Request) error {
	body, err := s.readBody(w, r, nil)
	if err != nil {
		return err
	}
	events, err := s.splitBatch(body)
	if err != nil {
		return err
	}
	replies := make([]*event.Event, len(events))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, raw := range events {
		g.Go(func() (err error) {
			replies[i], err = s.answerEvent(r.Context(), st, r.Header, raw)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	answer, err := json.Marshal(replies)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", event.ApplicationCloudEventsBatchJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	// A client that is gone is nobody's error.
	_, _ = w.Write(answer)
	return nil
}

// splitBatch finds the events of a batch.
func (s *Server) splitBatch(body []byte) ([][]byte, error) {
	scan := s.scanner(body, false)
	if scan.peek() != '[' {
		return nil, scan.fail("expected a list of CloudEvents, got %s", scan.what())
	}
	events := [][]byte{}
	err := scan.list(func(i int) error {
		if i >= s.limits.Instances {
			return tooMany(s.limits.Instances)
		}
		scan.peek()
		start := scan.i
		if err := scan.skip(); err != nil {
			return err
		}
		events = append(events, body[start:scan.i])
		return nil
	})
	if err != nil {
		return nil, err
	}
	return events, scan.end()
}

// answerEvent answers one structured event of a batch; the error is of the server's own, not of the event.
func (s *Server) answerEvent(ctx context.Context, st *state, header http.Header, raw []byte) (*event.Event, error) {
	x := eventState{structured: true, meta: st.meta}
	header = header.Clone()
	header.Set("Content-Type", event.ApplicationCloudEventsJSON)
	e, err := s.parseEvent(ctx, header, raw, &x)
	var answer []byte
	if err == nil {
		answer, err = s.answerData(ctx, st, e, true)
	}
	if err != nil {
		t := translate(err)
		return s.newEvent(x, TypeError, errorData(t))
	}
	return s.newEvent(x, TypePrediction, answer)
}

// answerData checks an event and predicts.
func (s *Server) answerData(ctx context.Context, st *state, e *event.Event, finite bool) ([]byte, error) {
	if err := checkEvent(st, e); err != nil {
		return nil, err
	}
	ctx, cancel, err := untilExpiry(ctx, e)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return s.predictEvent(ctx, st, e, finite)
}

// extensionExpiry is CloudEvents' extension for the time after which an event is of no use: an event's deadline.
const extensionExpiry = "expirytime"

// untilExpiry bounds the answer to an event by the event's own deadline.
func untilExpiry(ctx context.Context, e *event.Event) (context.Context, context.CancelFunc, error) {
	text, ok := extension(e, extensionExpiry)
	if !ok {
		return ctx, func() {}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil, nil, badRequest("attribute %s is %q, expected a time such as 2026-01-02T15:04:05Z", extensionExpiry, text)
	}
	ctx, cancel := context.WithDeadline(ctx, at)
	if err := ctx.Err(); err != nil {
		cancel()
		return nil, nil, err
	}
	return ctx, cancel, nil
}

func errorData(e *server.Error) []byte {
	data := appendString([]byte(`{"error":`), e.Message)
	return append(data, `,"status":`+itoa(e.Status)+"}"...)
}
