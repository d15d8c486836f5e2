package h2

import (
	"time"

	"golang.org/x/net/http2"
)

// drainPing is what a client answers when it has read that the connection ends.
var drainPing = [8]byte{'w', 'e', 'i', 'r', 'e', 'n', 'd', 's'}

// drain tells the client to send no more on this connection, and after a turn to it and back which request was the last.
func (c *conn) drain() {
	c.mu.Lock()
	if c.drained || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.drained = true
	_ = c.fr.WriteGoAway(maxWindow, http2.ErrCodeNo, nil)
	_ = c.fr.WritePing(false, drainPing)
	c.mu.Unlock()
	c.flush()
	time.AfterFunc(linger, c.finalGoAway)
}

// finalGoAway says which request is the last that is answered.
func (c *conn) finalGoAway() {
	c.mu.Lock()
	if !c.drained || c.isFinal || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.isFinal = true
	c.final = c.last
	_ = c.fr.WriteGoAway(c.final, http2.ErrCodeNo, nil)
	c.ending = len(c.streams) == 0
	c.mu.Unlock()
	c.flush()
}

// checkIdle ends a connection on which nothing was asked for long.
func (c *conn) checkIdle() {
	c.mu.Lock()
	left := c.s.options.Idle
	if len(c.streams) == 0 {
		left -= time.Since(c.idleSince)
	}
	c.mu.Unlock()
	if left > 0 {
		c.idle.Reset(left)
		return
	}
	c.drain()
}
