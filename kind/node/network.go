package node

import (
	"fmt"
	"net/netip"
)

// slots is how many nodes one machine can hold: each has addresses of its own.
const slots = 8

// network is the addresses of one node. All are private ones that Knative and the usual tools take for a registry
// without TLS.
type network struct {
	Slot int `json:"slot"`
}

// node is the address of the API server, the registry and the DNS server; it is the same inside and outside.
func (n network) node() netip.Addr { return netip.AddrFrom4([4]byte{10, 86, byte(n.Slot), 1}) }

// host and inside are the two ends of the virtual cable.
func (n network) host() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 86, byte(n.Slot), 253}), 30)
}

func (n network) inside() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 86, byte(n.Slot), 254}), 30)
}

func (n network) services() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(96 + n.Slot), 0, 0}), 16)
}

func (n network) pods() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(240 + n.Slot), 0, 0}), 16)
}

// nodePods is the part of pods that the one node has: the controller manager gives it the first /24.
func (n network) nodePods() netip.Prefix { return netip.PrefixFrom(n.pods().Addr(), 24) }

// ingress is the address that Kourier's Service is given, so that it can be forwarded to before it is there.
func (n network) ingress() netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(96 + n.Slot), 0, 80})
}

func (n network) apiServer() string { return fmt.Sprintf("%s:6443", n.node()) }

func (n network) registry() string { return fmt.Sprintf("%s:5000", n.node()) }

// device is the name of the interface on the host.
func (n network) device() string { return fmt.Sprintf("weir%d", n.Slot) }

// routes are what the host reaches through the device.
func (n network) routes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(n.node(), 32), n.services(), n.pods()}
}
