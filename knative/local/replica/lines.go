package replica

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	longestLine = 64 << 10 // a longer line of output is cut into several
	quoted      = 300      // bytes of output that an error quotes
	// gather is how long output may wait for more: a line a request, each read and written by itself, costs the engine as
	// much as a tenth of sending the request on.
	gather      = 2 * time.Millisecond
	outputGrace = 500 * time.Millisecond // for the output to end once the process group is gone
)

// lines copies output in whole lines and keeps the one that says most about a death.
type lines struct {
	to   io.Writer
	from *os.File
	done chan struct{}

	mu    sync.Mutex
	last  []byte // as it came: what it says is asked at a death only
	fault []byte // the line that began a panic of Go's: the last line is then only a place in the source
}

func newLines(to io.Writer) *lines { return &lines{to: to, done: make(chan struct{})} }

// follow copies what comes from a pipe until all its writers have closed it.
func (l *lines) follow(from *os.File) {
	l.from = from
	go func() {
		defer close(l.done)
		defer func() { _ = from.Close() }()
		buf, have := make([]byte, longestLine), 0
		for {
			n, err := from.Read(buf[have:])
			have += n
			whole := bytes.LastIndexByte(buf[:have], '\n') + 1
			if err != nil || whole == 0 && have == len(buf) {
				whole = have
			}
			if whole > 0 {
				l.add(buf[:whole])
				have = copy(buf, buf[whole:have])
			}
			if err != nil {
				return
			}
			time.Sleep(gather)
		}
	}()
}

// add copies lines, the last one perhaps without its end.
func (l *lines) add(b []byte) {
	if b[len(b)-1] != '\n' {
		b = append(bytes.Clone(b), '\n')
	}
	_, _ = l.to.Write(b) // a log that fails must not end a replica
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(b) {
		if bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")) {
			l.fault = bytes.Clone(line)
		}
	}
	if text := bytes.TrimSpace(b); len(text) > 0 {
		l.last = append(l.last[:0], text[bytes.LastIndexByte(text, '\n')+1:]...)
	}
}

// message is what a line says to people: of a line of JSON, as structured loggers write it, its error or its message.
func message(line []byte) string {
	text := strings.TrimSpace(string(line))
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
	case l.fault != nil:
		return ": " + message(l.fault)
	case l.last != nil:
		return ": " + message(l.last)
	}
	return ""
}
