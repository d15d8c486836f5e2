// Package node runs a whole Kubernetes node on this machine, without Docker and without a package of its own.
//
// Kubernetes, etcd, CoreDNS and a registry are one program (the folder program, a module of its own, compiled when it
// is first needed); containerd, runc and the CNI plugins are the distribution's. All of it runs in namespaces of its
// own: network, mounts, processes, host name and IPC. The network has no default route, so nothing in it reaches
// further than this machine; one pair of virtual interfaces and a few listeners on 127.0.0.1 lead in.
//
// Three processes of weir take part. "weir cluster up" prepares, waits and ends. It leaves the keeper behind, which
// stays in the host's namespaces, forwards from 127.0.0.1 and tidies up; it starts the first process, which is PID 1
// inside, starts the components and takes everything inside with it when it dies. It dies with the keeper.
//
// What runs on the node, Knative above all, is put there by package install; this package only says which manifests and
// images the node has and what has to be different on one node.
package node
