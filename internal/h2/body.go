package h2

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// body is a request's body: what came of it and was not read yet.
type body struct {
	st *stream
	// ask, if not nil, is called before the first Read that waits, to have the client send the body.
	ask func()

	mu       sync.Mutex
	more     sync.Cond
	data     bytes.Buffer
	err      error // what follows data: io.EOF, or why there is no more
	closed   bool
	deadline time.Time
	late     *time.Timer
	trailer  http.Header // of the request, declared and filled in at the end
	came     http.Header
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	for !b.closed && b.data.Len() == 0 && b.err == nil {
		if b.ask != nil {
			ask := b.ask
			b.ask = nil
			b.mu.Unlock()
			ask()
			b.mu.Lock()
			continue
		}
		if !b.deadline.IsZero() {
			left := time.Until(b.deadline)
			if left <= 0 {
				b.err = os.ErrDeadlineExceeded
				break
			}
			if b.late == nil {
				b.late = time.AfterFunc(left, b.wake)
			} else {
				b.late.Reset(left)
			}
		}
		b.more.Wait()
	}
	switch {
	case b.closed:
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	case b.data.Len() > 0:
		n, _ := b.data.Read(p)
		ended := b.err != nil
		b.mu.Unlock()
		b.st.consumed(n, ended)
		return n, nil
	}
	err := b.err
	if errors.Is(err, io.EOF) {
		for name, values := range b.came {
			if _, ok := b.trailer[name]; ok {
				b.trailer[name] = values
			}
		}
		b.came = nil
	}
	b.mu.Unlock()
	return 0, err
}

func (b *body) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.more.Broadcast()
}

// Close implements io.Closer. It ends a Read that waits for the client; what is left of the body nobody gets.
func (b *body) Close() error {
	b.mu.Lock()
	left := b.data.Len()
	b.closed, b.data = true, bytes.Buffer{}
	if b.late != nil {
		b.late.Stop()
	}
	b.more.Broadcast()
	b.mu.Unlock()
	b.st.consumed(left, true)
	return nil
}

// add takes data of the client, and says whether anybody wants it.
func (b *body) add(p []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.err != nil {
		return false
	}
	b.data.Write(p)
	b.more.Signal()
	return true
}

// end says what follows the data.
func (b *body) end(err error, trailer http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err, b.came = err, trailer
	}
	b.more.Broadcast()
}

func (b *body) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.more.Broadcast()
}
