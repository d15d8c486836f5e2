package replica

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	longestLine = 64 << 10               // a longer line of output is cut into several
	quoted      = 300                    // bytes of output that an error quotes
	outputGrace = 500 * time.Millisecond // for the output to end once the process group is gone
)

// lines copies output in whole lines and keeps the one that says most about a death.
type lines struct {
	to   io.Writer
	from *os.File
	done chan struct{}

	mu    sync.Mutex
	last  string
	fault string // the line that began a panic of Go's: the last line is then only a place in the source
}

func newLines(to io.Writer) *lines { return &lines{to: to, done: make(chan struct{})} }

// follow copies what comes from a pipe until all its writers have closed it.
func (l *lines) follow(from *os.File) {
	l.from = from
	go func() {
		defer close(l.done)
		defer func() { _ = from.Close() }()
		in := bufio.NewReaderSize(from, longestLine)
		for {
			line, err := in.ReadSlice('\n')
			if len(line) > 0 {
				l.line(line)
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return
			}
		}
	}()
}

func (l *lines) line(b []byte) {
	if b[len(b)-1] != '\n' {
		b = append(bytes.Clone(b), '\n')
	}
	_, _ = l.to.Write(b) // a log that fails must not end a replica
	text := strings.TrimSpace(message(b))
	if text == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = text
	if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
		l.fault = text
	}
}

// message is what a line says to people: of a line of JSON, as structured loggers write it, its error or its message.
func message(line []byte) string {
	text := string(line)
	if line[0] == '{' {
		var l struct{ Error, Message, Msg string }
		if json.Unmarshal(line, &l) == nil {
			text = cmp.Or(l.Error, l.Message, l.Msg, text)
		}
	}
	return strings.ToValidUTF8(text[:min(len(text), quoted)], "")
}

// wait waits for the end of the output, but not for a process that left the group and still holds the pipe.
func (l *lines) wait() {
	_ = l.from.SetReadDeadline(time.Now().Add(outputGrace))
	<-l.done
}

// said returns the line of output to quote in an error, after a colon.
func (l *lines) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.fault != "":
		return ": " + l.fault
	case l.last != "":
		return ": " + l.last
	}
	return ""
}
