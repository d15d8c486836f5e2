package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// followInterval is how often a log that is followed is looked at.
const followInterval = 200 * time.Millisecond

// Logs copies a service's log lines to w, revision by revision in the order of their making; with follow it goes on,
// also with revisions that come later, until ctx ends.
func (e *Engine) Logs(ctx context.Context, name string, follow bool, w io.Writer) error {
	var tails []*tail
	defer func() {
		for _, t := range tails {
			t.close()
		}
	}()
	known := map[string]bool{}
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		e.mu.RLock()
		s := e.services[name]
		var revisions []string
		if s != nil {
			for _, r := range s.Revisions {
				revisions = append(revisions, r.Revision.Name)
			}
		}
		e.mu.RUnlock()
		if s == nil && len(tails) == 0 {
			return e.noService(name)
		}
		for _, r := range revisions {
			if !known[r] {
				known[r] = true
				tails = append(tails, &tail{name: e.store.log(r)})
			}
		}
		for _, t := range tails {
			if err := t.copy(w); err != nil {
				return err
			}
		}
		if !follow || s == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *Engine) noService(name string) error {
	var names []string
	for _, s := range e.sorted() {
		names = append(names, s.Service.Name)
	}
	return &notFoundError{fmt.Sprintf("there is no service %q: there is %s", name, orNothing(strings.Join(names, ", ")))}
}

func orNothing(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// tail reads a log that grows and is replaced by a new one when it is long.
type tail struct {
	name  string
	file  *os.File
	begun bool
}

// copy copies what has come since the last call; in the first, what was before the last replacement too.
func (t *tail) copy(w io.Writer) error {
	if !t.begun {
		if err := t.open(); err != nil || t.file == nil {
			return err
		}
		t.begun = true
		if err := t.copyBefore(w); err != nil {
			return err
		}
	}
	for {
		if t.file == nil {
			if err := t.open(); err != nil || t.file == nil {
				return err
			}
		}
		// Before the copy: what is written between the two is in this file.
		replaced := t.isNot(t.name)
		if _, err := io.Copy(w, t.file); err != nil {
			return err
		}
		if !replaced {
			return nil
		}
		t.close()
	}
}

// open opens the log; there is none before the first line.
func (t *tail) open() error {
	f, err := os.Open(t.name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	t.file = f
	return nil
}

// copyBefore copies the log before the one that is open.
func (t *tail) copyBefore(w io.Writer) error {
	if !t.isNot(t.name + logBefore) {
		return nil
	}
	f, err := os.Open(t.name + logBefore)
	if err != nil {
		return nil // it was removed meanwhile
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// isNot says whether there is a file of the name and it is not the open one.
func (t *tail) isNot(name string) bool {
	other, err := os.Stat(name)
	if err != nil {
		return false
	}
	open, err := t.file.Stat()
	return err == nil && !os.SameFile(other, open)
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // it was only read
		t.file = nil
	}
}
