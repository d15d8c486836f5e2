package later

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
)

// Flags are the options of a command line that people set. Their defaults are what Knative's SinkBinding puts into the
// environment, and Knative's own for deliveries.
func (o *Options) Flags(f *pflag.FlagSet) {
	f.StringVar(&o.Sink, "sink", os.Getenv("K_SINK"), "address that gets the answers to CloudEvents with Prefer: respond-async ($K_SINK)")
	f.StringArrayVar(&o.Allow, "allow-sink", nil, "address below which an event's attribute sink may lie, too; may be given again")
	f.StringVar(&o.DeadLetter, "dead-letter", "", "address that gets what the sink does not take")
	f.IntVar(&o.Retries, "sink-retries", 10, "how often a prediction or delivery for later is tried again")
	f.DurationVar(&o.BackOff, "sink-backoff", 200*time.Millisecond, "wait before the first of these; it doubles with each, up to 2m")
	f.IntVar(&o.Events, "sink-queue", 1000, "how many events may wait; more are refused with 503")
}

// OpenFile opens the queue of the flags with its file, or returns nil if they name no sink.
func (o Options) OpenFile(file string) (*Queue, error) {
	if o.Sink == "" && len(o.Allow) == 0 {
		if o.DeadLetter != "" {
			return nil, errors.New("--dead-letter is for what a sink does not take: name one with --sink or --allow-sink")
		}
		return nil, nil
	}
	if o.Events < 1 || o.BackOff <= 0 {
		return nil, errors.New("--sink-queue and --sink-backoff have to be more than zero")
	}
	if o.Retries == 0 {
		o.Retries = -1
	}
	if text := os.Getenv("K_CE_OVERRIDES"); text != "" {
		var overrides struct{ Extensions map[string]string }
		if err := json.Unmarshal([]byte(text), &overrides); err != nil {
			return nil, fmt.Errorf("K_CE_OVERRIDES: %w", err)
		}
		o.Extensions = overrides.Extensions
	}
	o.File = file
	return Open(o)
}
