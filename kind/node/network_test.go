package node

import (
	"net/netip"
	"testing"
)

// No two nodes of one machine share an address, and every address of a node is where it belongs.
func TestNetworksAreApart(t *testing.T) {
	var all []netip.Prefix
	for slot := range slots {
		n := network{Slot: slot}
		for _, p := range append(n.routes(), n.host()) {
			if !p.Addr().IsPrivate() {
				t.Errorf("%s is no private address", p)
			}
			for _, other := range all {
				if p.Overlaps(other) {
					t.Errorf("slot %d: %s overlaps %s", slot, p, other)
				}
			}
			all = append(all, p)
		}
		if !n.services().Contains(n.ingress()) || !n.pods().Overlaps(n.nodePods()) {
			t.Errorf("slot %d: ingress %s in %s, pods %s in %s", slot, n.ingress(), n.services(), n.nodePods(), n.pods())
		}
		if n.host().Masked() != n.inside().Masked() || n.host().Contains(n.node()) {
			t.Errorf("slot %d: the cable's ends are %s and %s, the node is %s", slot, n.host(), n.inside(), n.node())
		}
	}
}
