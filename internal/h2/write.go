package h2

import (
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/net/http2"
)

// stall is how long a connection may take nothing of what is written to it.
const stall = 30 * time.Second

// flush has what was written sent.
func (c *conn) flush() {
	if c.claim() {
		c.wake <- struct{}{}
	}
}

// claim says whether there is something to send and nobody who does it; who asked has to.
func (c *conn) claim() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || c.err != nil || len(c.out) == 0 && (!c.ending || c.shut) {
		return false
	}
	c.writing = true
	return true
}

// writer sends for those who have something else to do.
func (c *conn) writer() {
	for {
		select {
		case <-c.wake:
			c.send()
		case <-c.closed:
			return
		}
	}
}

// send sends all that is written. Others who are ready to write come first, so that one write has it all.
func (c *conn) send() {
	runtime.Gosched()
	for {
		c.mu.Lock()
		if c.err != nil || len(c.out) == 0 {
			c.writing = false
			end := c.ending && c.err == nil && !c.shut
			c.shut = c.shut || end
			c.mu.Unlock()
			if end {
				c.closeWrite()
			}
			return
		}
		out := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		err := c.write(out)
		if err != nil {
			c.fail(err)
		}
		c.mu.Lock()
		if cap(out) <= mostOut {
			c.spare = out
		}
		c.room.Broadcast()
		c.mu.Unlock()
	}
}

// write writes as long as the client takes something.
func (c *conn) write(p []byte) error {
	for len(p) > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(stall))
		n, err := c.nc.Write(p)
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
		p = p[n:]
	}
	return nil
}

// closeWrite ends the connection so that its last frames arrive.
func (c *conn) closeWrite() {
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
	time.AfterFunc(linger, func() { _ = c.nc.Close() })
}

// fail ends the connection at once, and what runs on it.
func (c *conn) fail(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
		close(c.closed)
	}
	c.mu.Unlock()
	if first {
		c.cutStreams(err)
		c.cancel()
		_ = c.nc.Close()
	}
}

// cutStreams ends what runs on a connection that is no more.
func (c *conn) cutStreams(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, st := range c.streams {
		delete(c.streams, id)
		st.cut(err)
	}
	c.room.Broadcast()
}

// reset refuses a stream. It is told to the client with what is sent next.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	c.drop(id, http2.StreamError{StreamID: id, Code: code})
	c.mu.Lock()
	c.last = max(c.last, id)
	_ = c.fr.WriteRSTStream(id, code)
	c.mu.Unlock()
}

// drop ends a stream that was given up.
func (c *conn) drop(id uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		st.cut(err)
		c.forget(st)
		c.room.Broadcast()
	}
}

// forget takes a stream out of the connection, with the lock.
func (c *conn) forget(st *stream) {
	if c.streams[st.id] != st {
		return
	}
	delete(c.streams, st.id)
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
		c.ending = c.ending || c.isFinal
	}
}

// mayWrite waits, with the lock, until some of n bytes of an answer may be written, and says how many.
func (c *conn) mayWrite(st *stream, n int) (int, error) {
	for {
		if st.outErr != nil {
			return 0, st.outErr
		}
		if n := min(int64(n), c.window, st.window, int64(c.maxFrame)); n > 0 && len(c.out) < mostOut {
			c.window -= n
			st.window -= n
			return int(n), nil
		}
		if !st.writeBy.IsZero() {
			left := time.Until(st.writeBy)
			if left <= 0 {
				st.cut(os.ErrDeadlineExceeded)
				c.forget(st)
				_ = c.fr.WriteRSTStream(st.id, http2.ErrCodeInternal)
				c.wakeWriter()
				return 0, os.ErrDeadlineExceeded
			}
			if st.late == nil {
				st.late = time.AfterFunc(left, func() {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.room.Broadcast()
				})
			} else {
				st.late.Reset(left)
			}
		}
		c.wakeWriter()
		c.room.Wait()
	}
}

// wakeWriter is flush with the lock.
func (c *conn) wakeWriter() {
	if !c.writing && c.err == nil && len(c.out) > 0 {
		c.writing = true
		c.wake <- struct{}{}
	}
}
