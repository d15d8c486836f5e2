package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/serving/pkg/apis/config"
	"knative.dev/serving/pkg/apis/serving"
)

// functionContainer is the container of a revision that is not Knative's own.
const functionContainer = config.DefaultUserContainerName

// Logs copies what a Service's replicas wrote, each line with its pod's name before it: all there is of each pod, the
// oldest pod first; with follow it goes on, also with pods that come later, until ctx ends. A cluster keeps the lines of
// pods only while these are there.
func (c *Client) Logs(ctx context.Context, name string, follow bool, w io.Writer) error {
	if _, err := c.serving.Services(c.namespace).Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return c.noService(ctx, name)
	} else if err != nil {
		return c.explain(err, "read service "+name)
	}
	selector := metav1.ListOptions{LabelSelector: serving.ServiceLabelKey + "=" + name}
	list, err := c.kube.CoreV1().Pods(c.namespace).List(ctx, selector)
	if err != nil {
		return c.explain(err, "list pods")
	}
	pods := pointers(list.Items)
	if len(pods) == 0 && !follow {
		return fmt.Errorf("service %s has no replica now, and the cluster keeps no logs of those that ended: weir logs -f %s waits for the next one", name, name)
	}
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	out := &lines{w: w}
	if follow {
		selector.ResourceVersion = list.ResourceVersion
		return c.follow(ctx, pods, selector, out)
	}
	for _, p := range pods {
		if err := c.copyPod(ctx, p, false, out); err != nil {
			return err
		}
	}
	return nil
}

// follow copies the logs of the pods and of those that come, until ctx ends.
func (c *Client) follow(ctx context.Context, pods []*corev1.Pod, since metav1.ListOptions, out *lines) error {
	g, ctx := errgroup.WithContext(ctx)
	seen := map[string]bool{}
	begin := func(p *corev1.Pod) {
		if started(p) && !seen[p.Name] {
			seen[p.Name] = true
			g.Go(func() error { return c.copyPod(ctx, p, true, out) })
		}
	}
	for _, p := range pods {
		begin(p)
	}
	g.Go(func() error {
		for {
			watch, err := c.kube.CoreV1().Pods(c.namespace).Watch(ctx, since)
			if err != nil {
				return c.explain(err, "watch pods")
			}
			for event := range watch.ResultChan() {
				if p, ok := event.Object.(*corev1.Pod); ok {
					begin(p)
				}
			}
			// A watch ends now and then; the next begins with what there is.
			since.ResourceVersion = ""
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	})
	return g.Wait()
}

// started says whether the function's container has begun, so that it has a log.
func started(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == functionContainer && (s.State.Running != nil || s.State.Terminated != nil || s.RestartCount > 0)
	})
}

// copyPod copies the log of a pod's function, of the run before too if it is being started again.
func (c *Client) copyPod(ctx context.Context, p *corev1.Pod, follow bool, out *lines) error {
	if !started(p) {
		return nil
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == functionContainer && s.State.Running == nil && s.RestartCount > 0 {
			if err := c.copyLog(ctx, p.Name, &corev1.PodLogOptions{Container: functionContainer, Previous: true}, out); err != nil {
				return err
			}
		}
	}
	return c.copyLog(ctx, p.Name, &corev1.PodLogOptions{Container: functionContainer, Follow: follow}, out)
}

func (c *Client) copyLog(ctx context.Context, pod string, o *corev1.PodLogOptions, out *lines) error {
	stream, err := c.kube.CoreV1().Pods(c.namespace).GetLogs(pod, o).Stream(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) {
		return nil // the pod, or its container's last run, is gone
	}
	if err != nil {
		return c.explain(err, "read the log of pod "+pod)
	}
	defer stream.Close()
	r := bufio.NewReader(stream)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			if err := out.write(pod, line); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("the log of pod %s broke off: %w", pod, err)
		}
	}
}

// lines writes whole lines of several pods.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) write(pod string, line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.w, "%s %s\n", pod, bytes.TrimSuffix(line, []byte("\n")))
	return err
}
