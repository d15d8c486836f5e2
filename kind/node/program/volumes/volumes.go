// Package volumes makes what a PersistentVolumeClaim of the node's StorageClass asks for: a folder of the node, as kind's
// and minikube's own provisioners do.
package volumes

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v11/controller"
)

// Provisioner is how a StorageClass names this one.
const Provisioner = "weir.dev/node-folder"

// Run provides volumes until it gets a signal.
func Run(args []string) error {
	flags := flag.NewFlagSet("volumes", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "file that leads to the cluster")
	dir := flags.String("dir", "", "folder of the volumes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// There is one node, so that there is one provisioner.
	controller.NewProvisionController(ctx, client, Provisioner, folders(*dir), controller.LeaderElection(false)).Run(ctx)
	return nil
}

// folders is the folder in which each volume has its own.
type folders string

// Provision makes a folder that every user of a pod may write in: a pod's user is not known here.
func (f folders) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	if o.PVC.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, errors.New("a claim with a selector chooses among volumes that exist; this StorageClass makes new ones")
	}
	path := filepath.Join(string(f), o.PVName)
	// Chmod, as the process's umask would take from the mode.
	if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o777)); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	directory := corev1.HostPathDirectory
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &directory}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the folder of a volume and what is in it.
func (f folders) Delete(_ context.Context, pv *corev1.PersistentVolume) error {
	if pv.Spec.HostPath == nil || pv.Spec.HostPath.Path != filepath.Join(string(f), pv.Name) {
		return &controller.IgnoredError{Reason: "it is no folder of this node's volumes"}
	}
	return os.RemoveAll(pv.Spec.HostPath.Path)
}
