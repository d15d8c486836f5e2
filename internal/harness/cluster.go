package harness

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative/cluster/kubeconfig"
)

// OnCluster says whether $WEIR_ON chose the cluster that $KUBECONFIG, $WEIR_REGISTRY (HOST[:PORT]) and $WEIR_INGRESS
// (HOST:PORT) name, in place of this machine's engine.
func OnCluster() bool { return os.Getenv("WEIR_ON") == "cluster" }

// namespace is a place of its own on the cluster.
type namespace struct {
	name    string
	kube    kubernetes.Interface
	objects dynamic.Interface
}

// Join makes a namespace and deploys the overlays in it, one after the other, each when the one before is ready. Images
// are pushed to the registry first. Stop removes it all.
func Join(ctx context.Context, name, dir string, overlays ...string) (*Weir, error) {
	config, _, err := kubeconfig.Load(kubeconfig.Options{})
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	n := &namespace{name: name, kube: kube, objects: objects}
	w := &Weir{on: n, ended: make(chan struct{})}
	_, err = kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	for i, overlay := range overlays {
		into := fmt.Sprintf("%s/overlay-%d", dir, i)
		push := exec.CommandContext(ctx, Path("bin/weir"), "image", "push", "--to", os.Getenv("WEIR_REGISTRY"), "--kustomize", into, "--overlay", Path(overlay))
		if out, err := push.CombinedOutput(); err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %s", err, out), w.Stop())
		}
		if err := appendTo(into+"/kustomization.yaml", fewCores); err != nil {
			return nil, errors.Join(err, w.Stop())
		}
		if err := w.Apply(ctx, into); err != nil {
			return nil, errors.Join(err, w.Stop())
		}
		if err := w.awaitReady(ctx); err != nil {
			return nil, errors.Join(err, w.Stop())
		}
	}
	return w, w.find(ctx)
}

// fewCores lets all models be there at once on a node of two cores.
const fewCores = `
patches:
  - target:
      group: serving.knative.dev
      kind: Service
    patch: |
      - {op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 50m}
`

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Apply is kubectl apply -k in the namespace, with kubectl itself.
func (w *Weir) Apply(ctx context.Context, dir string) error {
	_, err := w.Kubectl(ctx, "apply", "-k", dir)
	return err
}

// Kubectl runs this machine's kubectl, or else the node's, in the namespace and returns what it says.
func (w *Weir) Kubectl(ctx context.Context, args ...string) (string, error) {
	program, err := exec.LookPath("kubectl")
	if err != nil {
		program = Path("build/cluster/programs/bin/kubectl")
	}
	kubectl := exec.CommandContext(ctx, program, append([]string{"--namespace", w.on.name}, args...)...)
	out, err := kubectl.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// awaitReady waits until all services are ready.
func (w *Weir) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := w.Status(ctx)
		if err != nil {
			return err
		}
		waits := ""
		for _, s := range all {
			if !s.Ready {
				waits += s.Name + ": " + s.Message + "\n"
			}
		}
		if waits == "" && len(all) > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w\n%s", ctx.Err(), waits)
		}
	}
}

// find learns the router's host name.
func (w *Weir) find(ctx context.Context) error {
	all, err := w.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Name == "router" {
			w.Addr = strings.TrimPrefix(s.URL, "http://")
		}
	}
	if w.Addr == "" {
		return errors.New("the overlays have no router")
	}
	return nil
}

// UseIngress makes the default HTTP client connect to the cluster's ingress for every host that it asks for by name.
func UseIngress() {
	http.DefaultTransport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err == nil && net.ParseIP(host) == nil {
			address = os.Getenv("WEIR_INGRESS")
		}
		return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
	}
}

// command adds what leads a weir command to the namespace.
func (n *namespace) command(args []string) []string {
	switch args[0] {
	case "predict", "load":
		args = append(args, "--address", os.Getenv("WEIR_INGRESS"))
	case "deploy", "status", "logs", "delete":
	default:
		return args
	}
	return append(args, "--on", "cluster", "--namespace", n.name)
}

// stop removes the namespace and all that is in it; it does not wait for the end.
func (n *namespace) stop() error {
	err := n.kube.CoreV1().Namespaces().Delete(context.Background(), n.name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// tail is what the cluster says went wrong lately.
func (n *namespace) tail() string {
	events, err := n.kube.CoreV1().Events(n.name).List(context.Background(), metav1.ListOptions{FieldSelector: "type=Warning"})
	if err != nil {
		return err.Error()
	}
	var out bytes.Buffer
	for _, e := range events.Items {
		fmt.Fprintf(&out, "%s %s: %s: %s\n", cmp.Or(e.LastTimestamp.Time, e.EventTime.Time).Format(time.TimeOnly), e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return out.String()
}

// Stranger writes a kubeconfig of somebody who may do nothing in the namespace.
func (w *Weir) Stranger(ctx context.Context, file string) error {
	config, _, err := kubeconfig.Load(kubeconfig.Options{})
	if err != nil {
		return err
	}
	accounts := w.on.kube.CoreV1().ServiceAccounts(w.on.name)
	token, err := accounts.CreateToken(ctx, "weir-model", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthority: config.CAFile, CertificateAuthorityData: config.CAData, TLSServerName: config.ServerName}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"
	return clientcmd.WriteToFile(*c, file)
}

// KillPod ends a revision's pods at once.
func (w *Weir) KillPod(ctx context.Context, revision string) error {
	now := int64(0)
	return w.on.kube.CoreV1().Pods(w.on.name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now},
		metav1.ListOptions{LabelSelector: serving.RevisionLabelKey + "=" + revision})
}

// Sink makes a Service of that name that leads to an address outside the cluster, or has it lead there from now on.
func (w *Weir) Sink(ctx context.Context, name string, at *net.TCPAddr) error {
	port := int32(at.Port)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	if _, err := w.on.kube.CoreV1().Services(w.on.name).Create(ctx, svc, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{at.IP.String()}}},
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}
	all := w.on.kube.DiscoveryV1().EndpointSlices(w.on.name)
	_, err := all.Create(ctx, slice, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = all.Update(ctx, slice, metav1.UpdateOptions{})
	}
	return err
}

// Listen opens a port of this machine that the replicas reach.
func (w *Weir) Listen(ctx context.Context) (net.Listener, error) {
	if w.on == nil {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	nodes, err := w.on.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	// The address from which this machine would speak to the node; nothing is sent.
	conn, err := net.Dial("udp", net.JoinHostPort(nodes.Items[0].Status.Addresses[0].Address, "9"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return net.Listen("tcp", net.JoinHostPort(conn.LocalAddr().(*net.UDPAddr).IP.String(), "0"))
}

// Broker is the URL of the namespace's broker, once it is ready, by an address that needs no cluster DNS.
func (w *Weir) Broker(ctx context.Context) (string, error) {
	ingress, err := w.on.kube.CoreV1().Services("knative-eventing").Get(ctx, "broker-ingress", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("http://%s/%s/weir", ingress.Spec.ClusterIP, w.on.name), nil
}

// Redeploy gives a service its next revision, the same as the last, and returns when that has the traffic.
func (w *Weir) Redeploy(ctx context.Context, service string) error {
	services := w.on.objects.Resource(servingv1.SchemeGroupVersion.WithResource("services")).Namespace(w.on.name)
	patch := fmt.Sprintf(`{"spec": {"template": {"metadata": {"annotations": {"redeployed": %q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := services.Patch(ctx, service, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return err
	}
	return w.awaitReady(ctx)
}

// EndPods ends a service's pods as a node that is drained does, and returns when others are ready.
func (w *Weir) EndPods(ctx context.Context, service string) error {
	pods := w.on.kube.CoreV1().Pods(w.on.name)
	of := metav1.ListOptions{LabelSelector: serving.ServiceLabelKey + "=" + service}
	old, err := pods.List(ctx, of)
	if err != nil {
		return err
	}
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, of); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := pods.List(ctx, of)
		if err != nil {
			return err
		}
		left := slices.ContainsFunc(now.Items, func(p corev1.Pod) bool {
			return slices.ContainsFunc(old.Items, func(o corev1.Pod) bool { return o.UID == p.UID })
		})
		if !left && len(now.Items) > 0 {
			return w.awaitReady(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("pods of %s: %w", service, ctx.Err())
		}
	}
}
