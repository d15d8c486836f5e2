package local

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/rs/zerolog"
)

const (
	// logBytes is how long a revision's log gets before it is replaced; the one before is kept.
	logBytes = 10 << 20
	// logBefore is the end of that one's name.
	logBefore = ".1"
)

// logFile is a revision's log: lines of its replicas, each with its replica's name before it. It is opened at the first
// line, so that a revision that does nothing holds no file. (lumberjack would keep a goroutine for each, for good.)
type logFile struct {
	name string
	most int64 // bytes
	log  zerolog.Logger
	warn sync.Once

	mu   sync.Mutex
	file *os.File
	size int64
}

func (s *store) logFile(revision string, log zerolog.Logger) *logFile {
	return &logFile{name: s.log(revision), most: logBytes, log: log}
}

func (s *store) log(revision string) string { return filepath.Join(s.dir, "logs", revision+".log") }

func (s *store) removeLog(revision string) error {
	var problems []error
	for _, name := range []string{s.log(revision), s.log(revision) + logBefore} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// replica returns the writer of one replica's lines.
func (l *logFile) replica(name string) io.Writer { return prefixed{l, []byte(name + " ")} }

type prefixed struct {
	to     *logFile
	prefix []byte
}

// Write takes whole lines. It does not fail: a log that cannot be written must not end a replica.
func (p prefixed) Write(lines []byte) (int, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(lines) {
		out.Write(p.prefix)
		out.Write(line)
	}
	if err := p.to.write(out.Bytes()); err != nil {
		p.to.warn.Do(func() { p.to.log.Warn().Err(err).Msg("replicas' output is lost: their log cannot be written") })
	}
	return len(lines), nil
}

func (l *logFile) write(lines []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.size+int64(len(lines)) > l.most {
		err := l.file.Close()
		l.file = nil
		if err := errors.Join(err, os.Rename(l.name, l.name+logBefore)); err != nil {
			return err
		}
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
	return err
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // what was written is with the system already
		l.file = nil
	}
}
