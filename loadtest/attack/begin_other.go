//go:build !linux

package attack

import (
	"net/netip"
	"syscall"
)

func begin(syscall.RawConn, netip.AddrPort) {}
