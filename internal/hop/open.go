package hop

import (
	"errors"
	"syscall"
)

// isOpen looks whether the other side has closed an idle connection, or sent what nobody asked for.
func (c *conn) isOpen() bool {
	if c.raw == nil {
		return true
	}
	c.open = false
	err := c.raw.Control(c.look)
	return err == nil && c.open
}

// peek is look: kept in the connection, so that no request makes it again.
func (c *conn) peek(fd uintptr) {
	_, _, err := syscall.Recvfrom(int(fd), c.byte[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	c.open = errors.Is(err, syscall.EAGAIN)
}
