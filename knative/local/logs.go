package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// Logs of a revision are kept in files of logMegabytes, the last one and one before.
const (
	logMegabytes = 10
	logBackups   = 1
)

// followInterval is how often a log that is followed is looked at.
const followInterval = 200 * time.Millisecond

// logFile is a revision's log: lines of its replicas, each with its replica's name before it.
type logFile struct{ *lumberjack.Logger }

func (s *store) logFile(revision string) (*logFile, error) {
	l := &logFile{&lumberjack.Logger{Filename: s.log(revision), MaxSize: logMegabytes, MaxBackups: logBackups}}
	// Opened now, so that a folder that cannot be written to is an error at once.
	if _, err := l.Write(nil); err != nil {
		return nil, fmt.Errorf("log of revision %s: %w", revision, err)
	}
	return l, nil
}

func (s *store) log(revision string) string { return filepath.Join(s.dir, "logs", revision+".log") }

// replica returns the writer of one replica's lines.
func (l *logFile) replica(name string) io.Writer { return prefixed{l, []byte(name + " ")} }

type prefixed struct {
	to     io.Writer
	prefix []byte
}

// Write takes whole lines.
func (p prefixed) Write(lines []byte) (int, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(lines) {
		out.Write(p.prefix)
		out.Write(line)
	}
	if _, err := p.to.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(lines), nil
}

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
	return &notFound{fmt.Sprintf("there is no service %q: there is %s", name, orNothing(strings.Join(names, ", ")))}
}

func orNothing(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// tail reads a file that grows and is replaced.
type tail struct {
	name string
	file *os.File
}

// copy copies what has come since the last call.
func (t *tail) copy(w io.Writer) error {
	for {
		if t.file == nil {
			f, err := os.Open(t.name)
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			t.file = f
		}
		if _, err := io.Copy(w, t.file); err != nil {
			return err
		}
		if !t.replaced() {
			return nil
		}
		t.close()
	}
}

// replaced says whether the name means another file by now.
func (t *tail) replaced() bool {
	now, err := os.Stat(t.name)
	if err != nil {
		return false
	}
	then, err := t.file.Stat()
	return err == nil && !os.SameFile(now, then)
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // it was only read
		t.file = nil
	}
}
