package dispatch

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	servingnet "knative.dev/serving/pkg/networking"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

// TestWatch sees a model that is added, its replicas and its end, without a restart. What is no model is left alone.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, io.Discard, nil)
	if all, err := w.Status(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("%+v, %v", all, err)
	}
	w.deploy(t, "half", "half-1")
	w.endpoints(t, "half-1", servingnet.ServiceTypePrivate, "http", "10.0.0.1:8012")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, "http", "10.0.0.1:8012")
	r := w.ready(t, "half", 1)[0].Revisions[0]
	if r.Name != "half-1" || r.Percent != 100 || r.State != knative.StateReady || len(r.Tags) != 1 {
		t.Errorf("%+v", r)
	}
	if err := w.serving.Tracker().Delete(servingv1.SchemeGroupVersion.WithResource("services"), "models", "half"); err != nil {
		t.Fatal(err)
	}
	w.await(t, "half is gone", func(all []knative.ServiceStatus) bool { return len(all) == 0 })
	for _, s := range []string{"half-1-private", "half-1-public"} {
		if err := w.kube.DiscoveryV1().EndpointSlices("models").Delete(t.Context(), s, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.await(t, "half-1 answers nowhere", func([]knative.ServiceStatus) bool {
		_, _, err := post(t.Context(), w, "half-1", "/", nil)
		return errors.Is(err, knative.ErrNoRevision)
	})
}

// TestNoRights says in the log what the service account lacks.
func TestNoRights(t *testing.T) {
	t.Parallel()
	said := make(logWriter, 100)
	w := newWorld(t, said, func(w world) {
		w.serving.PrependReactor("list", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "serving.knative.dev", Resource: "services"}, "", errors.New("no rights"))
		})
	})
	if line := soon.Next(t, "a line of the log", said); !strings.Contains(line, "cannot be watched") || !strings.Contains(line, "no rights") {
		t.Errorf("it says %s", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("status before anything was seen: %v", err)
	}
}

type logWriter chan string

func (l logWriter) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default: // nobody reads more
	}
	return len(p), nil
}
