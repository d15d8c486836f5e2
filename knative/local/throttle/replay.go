package throttle

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// replayLimit is how many bytes of a request's body are kept to send them again. A longer body is sent once.
const replayLimit = 1 << 20

var errNotReplayable = errors.New("the request's body was too long to be kept for another try")

// replay gives a request's body to one attempt after the other: it keeps what was read while it is short enough and no
// answer has begun. A transport may still read for an attempt that has failed; what it reads is not lost.
type replay struct {
	src     io.ReadCloser
	size    int64      // as declared; -1 unknown
	buffers *sync.Pool // of *[]byte: to make and clear memory for each image costs more than to copy the image

	mu    sync.Mutex // held during src.Read
	buf   []byte     // all that was read, while kept
	box   *[]byte    // where buf came from, and goes back to
	total int        // bytes read
	err   error      // src's, io.EOF included

	lost      atomic.Bool           // bytes were read that are not kept
	srcErr    atomic.Pointer[error] // src ended with this, other than io.EOF
	answered  atomic.Bool           // an answer has begun: no other attempt
	closeOnce sync.Once

	current *body // only for who makes the attempts
}

func newReplay(src io.ReadCloser, size int64, buffers *sync.Pool) *replay {
	return &replay{src: src, size: size, buffers: buffers}
}

// attempt returns the body for the next attempt. The one before gets no more of it. It does not wait for that one's
// Read, which may hang until the client sends more.
func (p *replay) attempt() *body {
	if p.current != nil {
		p.current.ended.Store(true)
	}
	p.current = &body{replay: p}
	return p.current
}

// settle says that an answer has begun.
func (p *replay) settle() {
	p.answered.Store(true)
	if p.current.closed.Load() {
		p.recycle()
		p.close()
	}
}

func (p *replay) close() {
	p.closeOnce.Do(func() { _ = p.src.Close() })
}

// buffer returns an empty buffer for so many bytes. p.mu is held.
func (p *replay) buffer(size int) []byte {
	b, ok := p.buffers.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	p.box = b
	if cap(*b) >= size {
		return (*b)[:0]
	}
	return make([]byte, 0, size)
}

// drop gives up what was kept. p.mu is held.
func (p *replay) drop() {
	p.lost.Store(true)
	if p.buf != nil {
		*p.box = p.buf
		p.buffers.Put(p.box)
		p.buf, p.box = nil, nil
	}
}

// recycle drops what was kept after the last attempt. It does not wait for a Read that hangs.
func (p *replay) recycle() {
	if p.mu.TryLock() {
		defer p.mu.Unlock()
		p.drop()
	}
}

// body is the request body of one attempt.
type body struct {
	*replay
	off           int
	ended, closed atomic.Bool
}

// Read implements io.Reader.
func (b *body) Read(into []byte) (int, error) {
	p := b.replay
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.ended.Load() || b.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	if b.off < p.total {
		if p.lost.Load() {
			return 0, errNotReplayable
		}
		n := copy(into, p.buf[b.off:])
		b.off += n
		return n, nil
	}
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.src.Read(into)
	p.keep(into[:n])
	p.read(n, err)
	b.off += n
	return n, err
}

// prefetch reads a short body before a replica is asked for, so that a client that sends slowly holds no place at one.
func (p *replay) prefetch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && int64(p.total) <= p.size {
		p.fill()
	}
	return p.failure()
}

// failure is why the body cannot be read.
func (p *replay) failure() error {
	if err := p.srcErr.Load(); err != nil {
		return fmt.Errorf("read the request's body: %w", *err)
	}
	return nil
}

// fill reads once, into a buffer that has room for all that was declared, and one more to see the end. p.mu is held.
func (p *replay) fill() {
	end := int(p.size) + 1
	if p.buf == nil {
		p.buf = p.buffer(end)
	}
	n, err := p.src.Read(p.buf[p.total:end])
	p.buf = p.buf[:p.total+n]
	p.read(n, err)
}

// read notes what a Read of src has returned.
func (p *replay) read(n int, err error) {
	p.total += n
	if err != nil {
		p.err = err
		if !errors.Is(err, io.EOF) {
			p.srcErr.Store(&err)
		}
	}
}

// WriteTo implements io.WriterTo: what is kept for another attempt is written from where it is kept, not copied there.
func (b *body) WriteTo(w io.Writer) (n int64, err error) {
	for kept := true; kept && err == nil; {
		var m int
		m, kept, err = b.pass(w)
		n += int64(m)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}
	m, err := io.Copy(w, struct{ io.Reader }{b})
	return n + m, err
}

// pass writes what comes next by way of the buffer, if that has room for all that was declared. The lock is held
// meanwhile, so that nobody gives the buffer back.
func (b *body) pass(w io.Writer) (n int, kept bool, err error) {
	p := b.replay
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case b.ended.Load() || b.closed.Load():
		return 0, true, io.ErrClosedPipe
	case p.size <= 0 || p.size > replayLimit || int64(p.total) > p.size || p.lost.Load() || p.answered.Load():
		return 0, false, nil
	}
	if b.off == p.total && p.err == nil {
		p.fill() // with all that has come: each piece that is sent wakes the replica
	}
	n, err = w.Write(p.buf[b.off:p.total])
	b.off += n
	if err == nil && b.off == p.total {
		err = p.err
	}
	return n, true, err
}

// keep adds what was read to what another attempt can read again.
func (p *replay) keep(read []byte) {
	if p.lost.Load() || len(read) == 0 {
		return
	}
	if p.total+len(read) > replayLimit || p.size > replayLimit || p.answered.Load() {
		p.drop()
		return
	}
	if p.buf == nil {
		p.buf = p.buffer(max(int(p.size)+1, len(read)))
	}
	p.buf = append(p.buf, read...)
}

// Close implements io.Closer. It closes the request's body only if no other attempt may want it.
func (b *body) Close() error {
	b.closed.Store(true)
	if b.answered.Load() && !b.ended.Load() {
		b.recycle()
		b.close()
	}
	return nil
}
