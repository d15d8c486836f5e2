package attack

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// begin begins to connect a socket to an address of this machine, so that it is connected when Go does the same: the kernel
// has shaken hands before the first call returns, and only a second one says so. Else Go waits with a goroutine more, and for
// all other users who come at the same moment. What fails here fails there.
func begin(c syscall.RawConn, to netip.AddrPort) {
	_ = c.Control(func(fd uintptr) {
		if a := to.Addr().Unmap(); a.Is4() {
			_ = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(to.Port()), Addr: a.As4()})
		}
	})
}
