package node

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
)

// nodeName is the node's name in the cluster and its host name.
const nodeName = "weir"

// cniFolders are where distributions put the CNI plugins.
var cniFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// components are the programs of one node and their settings.
type components struct {
	folder
	record
}

func (n components) program() string { return filepath.Join(n.Programs, "bin", "weir-node") }

//go:embed conf
var configFiles embed.FS

// writeConfig fills in the files of conf with the node's folders and addresses.
func (n components) writeConfig() error {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	cni, err := cniFolder()
	if err != nil {
		return err
	}
	data := map[string]any{
		"Name": nodeName, "PKI": n.path("pki"), "Conf": n.path("conf"), "Dir": n.path(), "Cgroup": n.cgroup(),
		"Node": n.node(), "API": n.apiServer(), "Registry": n.registry(),
		"Pods": n.pods(), "NodePods": n.nodePods(), "Services": n.services(),
		"Runc": runc, "CNI": cni, "Socket": containerdSocket,
	}
	templates, err := template.New("").Option("missingkey=error").ParseFS(configFiles, "conf/*")
	if err != nil {
		return err
	}
	for _, t := range templates.Templates() {
		if t.Name() == "" {
			continue
		}
		var out bytes.Buffer
		if err := t.Execute(&out, data); err != nil {
			return err
		}
		path := n.path("conf", t.Name())
		switch t.Name() {
		case "cni.conflist":
			path = n.path("conf", "cni", t.Name())
		case "hosts.toml":
			path = n.path("conf", "registries", n.registry(), t.Name())
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// cniFolder is where this machine has the CNI plugins.
func cniFolder() (string, error) {
	for _, dir := range cniFolders {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no CNI plugins in %v", cniFolders)
}

// containerdSocket lies in the node's own /run.
const containerdSocket = "/run/weir/containerd.sock"

// first are the components that the API server needs, and those that need no API server.
func (n components) first() []component {
	pki := func(name string) string { return n.path("pki", name) }
	return []component{
		{"etcd", n.program(), []string{
			"--name", nodeName, "--data-dir", n.path("etcd"),
			"--listen-client-urls", "https://127.0.0.1:2379", "--advertise-client-urls", "https://127.0.0.1:2379",
			"--listen-peer-urls", "https://127.0.0.1:2380", "--initial-advertise-peer-urls", "https://127.0.0.1:2380",
			"--initial-cluster", nodeName + "=https://127.0.0.1:2380", "--listen-metrics-urls", "http://127.0.0.1:2381",
			"--cert-file", pki("etcd/server.crt"), "--key-file", pki("etcd/server.key"),
			"--trusted-ca-file", pki("etcd/ca.crt"), "--client-cert-auth",
			"--peer-cert-file", pki("etcd/peer.crt"), "--peer-key-file", pki("etcd/peer.key"),
			"--peer-trusted-ca-file", pki("etcd/ca.crt"), "--peer-client-cert-auth",
			// What a crash of the machine loses, the user has in files; without it every write waits for the disk.
			"--unsafe-no-fsync", "--auto-compaction-retention", "1",
		}},
		{"kube-apiserver", n.program(), []string{
			"--advertise-address", n.node().String(), "--secure-port", "6443",
			"--etcd-servers", "https://127.0.0.1:2379", "--etcd-cafile", pki("etcd/ca.crt"),
			"--etcd-certfile", pki("apiserver-etcd-client.crt"), "--etcd-keyfile", pki("apiserver-etcd-client.key"),
			"--client-ca-file", pki("ca.crt"), "--tls-cert-file", pki("apiserver.crt"), "--tls-private-key-file", pki("apiserver.key"),
			"--kubelet-client-certificate", pki("apiserver-kubelet-client.crt"), "--kubelet-client-key", pki("apiserver-kubelet-client.key"),
			"--kubelet-preferred-address-types", "InternalIP",
			"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file", pki("sa.pub"), "--service-account-signing-key-file", pki("sa.key"),
			"--service-cluster-ip-range", n.services().String(), "--authorization-mode", "Node,RBAC", "--allow-privileged",
			"--enable-admission-plugins", "NodeRestriction",
			"--requestheader-client-ca-file", pki("front-proxy-ca.crt"), "--requestheader-allowed-names", "front-proxy-client",
			"--requestheader-extra-headers-prefix", "X-Remote-Extra-", "--requestheader-group-headers", "X-Remote-Group",
			"--requestheader-username-headers", "X-Remote-User",
			"--proxy-client-cert-file", pki("front-proxy-client.crt"), "--proxy-client-key-file", pki("front-proxy-client.key"),
			"--profiling=false",
		}},
		{"registry", n.program(), []string{"-listen", n.registry(), "-dir", n.path("registry"), "-base", filepath.Join(n.Programs, "images")}},
		{"containerd", "/usr/bin/containerd", []string{"--config", n.path("conf", "containerd.toml")}},
	}
}

// second are the components that need the API server.
func (n components) second() []component {
	as := func(name string) []string {
		conf := n.path("pki", name+".conf")
		return []string{"--kubeconfig", conf, "--authentication-kubeconfig", conf, "--authorization-kubeconfig", conf,
			"--leader-elect=false", "--bind-address", "127.0.0.1", "--profiling=false"}
	}
	pki := func(name string) string { return n.path("pki", name) }
	return []component{
		{"kube-controller-manager", n.program(), append(as("controller-manager"),
			"--allocate-node-cidrs", "--cluster-cidr", n.pods().String(), "--service-cluster-ip-range", n.services().String(),
			"--client-ca-file", pki("ca.crt"), "--requestheader-client-ca-file", pki("front-proxy-ca.crt"), "--root-ca-file", pki("ca.crt"),
			"--cluster-signing-cert-file", pki("ca.crt"), "--cluster-signing-key-file", pki("ca.key"),
			"--service-account-private-key-file", pki("sa.key"), "--use-service-account-credentials")},
		{"kube-scheduler", n.program(), as("scheduler")},
		{"kubelet", n.program(), []string{
			"--config", n.path("conf", "kubelet.yaml"), "--kubeconfig", pki("kubelet.conf"), "--hostname-override", nodeName,
			"--node-ip", n.node().String(), "--root-dir", n.path("kubelet"), "--cert-dir", n.path("kubelet", "pki"),
		}},
		{"kube-proxy", n.program(), []string{"--config", n.path("conf", "kube-proxy.yaml")}},
		{"coredns", n.program(), []string{"-conf", n.path("conf", "Corefile")}},
		{"volumes", n.program(), []string{"-kubeconfig", pki("volumes.conf"), "-dir", n.path("volumes")}},
	}
}
