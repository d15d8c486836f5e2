// Package report writes a run for people and programs: one HTML file that needs no network, CSV, JSON and a picture.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"weir.dev/weir/loadtest/measure"
)

// The files of a report.
const (
	FileHTML      = "report.html"
	FileJSON      = "run.json"
	FilePNG       = "charts.png"
	FileRows      = "seconds.csv"
	FileSummaries = "summaries.csv"
	FileFailures  = "failures.csv"
	FileDecisions = "decisions.csv"
)

// writers make the files.
var writers = map[string]struct {
	write       func(io.Writer, measure.Run) error
	contentType string
}{
	FileHTML:      {HTML, "text/html; charset=utf-8"},
	FileJSON:      {encode, "application/json"},
	FilePNG:       {PNG, "image/png"},
	FileRows:      {Rows, "text/csv; charset=utf-8"},
	FileSummaries: {Summaries, "text/csv; charset=utf-8"},
	FileFailures:  {Failures, "text/csv; charset=utf-8"},
	FileDecisions: {Decisions, "text/csv; charset=utf-8"},
}

// Writer returns what writes a file of a report, and the file's type; false if there is no such file.
func Writer(name string) (write func(io.Writer, measure.Run) error, contentType string, ok bool) {
	f, ok := writers[name]
	return f.write, f.contentType, ok
}

// Dir is the folder that a run's report goes to if nobody names one: dated, below base.
func Dir(base, scenario string, now time.Time) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\: `, r) {
			return '-'
		}
		return r
	}, scenario)
	return filepath.Join(base, now.Format("2006-01-02T15-04-05")+"-"+name)
}

// MakeDir makes Dir, and one of its name with a number if another run has it.
func MakeDir(base, scenario string, now time.Time) (string, error) {
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	dir := Dir(base, scenario, now)
	for name, n := dir, 2; ; n++ {
		err := os.Mkdir(name, 0o755)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("report: %w", err)
		}
		name = fmt.Sprintf("%s-%d", dir, n)
	}
}

// CheckDir says whether a report can be written into a folder, which need not be there. It leaves nothing behind.
func CheckDir(dir string) error {
	for {
		info, err := os.Stat(dir)
		if parent := filepath.Dir(dir); errors.Is(err, os.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if !info.IsDir() {
			return fmt.Errorf("report: %s: expected a folder", dir)
		}
		break
	}
	f, err := os.CreateTemp(dir, ".weir-*")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Write writes all files of a run's report into a folder, which it makes.
func Write(dir string, run measure.Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var problems []error
	for name, f := range writers {
		problems = append(problems, writeFile(filepath.Join(dir, name), func(w io.Writer) error { return f.write(w, run) }))
	}
	return errors.Join(problems...)
}

// WriteCompare writes a page of two runs, and beside it a picture of the same name, which it returns.
func WriteCompare(path string, a, b measure.Run) (picture string, err error) {
	if filepath.Ext(path) == ".png" {
		return "", fmt.Errorf("report: %s: expected the name of a page, such as compare.html; the picture is beside it", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	picture = strings.TrimSuffix(path, filepath.Ext(path)) + ".png"
	return picture, errors.Join(
		writeFile(path, func(w io.Writer) error { return Compare(w, a, b) }),
		writeFile(picture, func(w io.Writer) error { return ComparePNG(w, a, b) }),
	)
}

// writeFile writes a file by way of another, so that nobody sees half of it.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".weir-*")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("report: %s: %w", filepath.Base(path), err), os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func encode(w io.Writer, run measure.Run) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(run)
}

// Read reads a run from its report's folder, or from the folder of one of a report's files.
func Read(dir string) (measure.Run, error) {
	var run measure.Run
	if _, ok := writers[filepath.Base(dir)]; ok {
		dir = filepath.Dir(dir)
	}
	data, err := os.ReadFile(filepath.Join(dir, FileJSON))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return run, fmt.Errorf("%s has no %s: expected the folder of a report of weir load", dir, FileJSON)
	}
	if err != nil {
		return run, fmt.Errorf("report: %w", err)
	}
	if err := json.Unmarshal(data, &run); err != nil {
		return run, fmt.Errorf("%s: expected a run as weir load writes it: %w", filepath.Join(dir, FileJSON), err)
	}
	return run, nil
}
