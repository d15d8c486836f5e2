package node

import (
	"context"
	"errors"
)

// Options say which node is meant and how it is reached.
type Options struct {
	// State is the folder of everything that the node keeps.
	State string
	// Source is a checkout of weir, needed to build the programs that are missing. If empty, the folder above the
	// working directory that is one.
	Source string
	// Ingress is the address on this machine that leads to the cluster's ingress. If empty, 127.0.0.1:80.
	Ingress string
	// Say is told about each step. If nil, nobody is.
	Say func(format string, args ...any)
}

func (o Options) say(format string, args ...any) {
	if o.Say != nil {
		o.Say(format, args...)
	}
}

// Info is how a node is reached.
type Info struct {
	Kubeconfig string
	Registry   string // host:port, the same inside and outside
	Ingress    string // host:port on this machine
	IngressIP  string // the cluster IP that the ingress's Service has to take
	Host       string // address at which pods reach this machine
	Programs   string // folder of what was built for the node
	Restarted  bool   // it was started again with what it had: its pods ended without the API server knowing
}

// ErrNone says that the state folder holds no node.
var ErrNone = errors.New("there is no cluster here: weir cluster up --on node starts one")

func (r record) info(f folder) Info {
	return Info{
		Kubeconfig: f.kubeconfig(),
		Registry:   r.registry(),
		Ingress:    r.Ingress,
		IngressIP:  r.ingress().String(),
		Host:       r.host().Addr().String(),
		Programs:   r.Programs,
	}
}

// Check says what keeps a node from being run in the state folder: it changes nothing.
func Check(state string) error { return check(state) }

// Build builds what the node runs if it is missing or of another version, and returns its folder.
func Build(ctx context.Context, o Options) (string, error) { return build(ctx, o) }

// Up starts the node of the state folder, or continues with the one that runs, and waits until its API server answers.
// A node that was cut off starts again with what it had.
func Up(ctx context.Context, o Options) (Info, error) { return up(ctx, o) }

// Down ends the node and removes everything it made.
func Down(ctx context.Context, o Options) error { return down(ctx, o) }

// Keep is the keeper: it runs the node of the state folder until ctx ends or the node dies. Up starts it as the
// command "cluster keep".
func Keep(ctx context.Context, state string) error { return keep(ctx, state) }

// Init is the node's first process. The keeper starts it as the command "cluster init".
func Init() error { return initProcess() }
