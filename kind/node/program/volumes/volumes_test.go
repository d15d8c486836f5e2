package volumes

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v11/controller"
)

func TestAVolumeIsAFolder(t *testing.T) {
	f := folders(t.TempDir())
	policy := corev1.PersistentVolumeReclaimDelete
	size := resource.MustParse("1Gi")
	ask := controller.ProvisionOptions{
		StorageClass: &storagev1.StorageClass{ReclaimPolicy: &policy},
		PVName:       "pvc-1",
		PVC: &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
		}},
	}
	pv, _, err := f.Provision(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(string(f), "pvc-1")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o777 || pv.Spec.HostPath.Path != path || pv.Spec.Capacity.Storage().Cmp(size) != 0 {
		t.Fatalf("%+v, %v, %+v", info, err, pv.Spec)
	}
	if err := os.WriteFile(filepath.Join(path, "model"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), pv); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after its end the folder is there: %v", err)
	}
	ask.PVC.Spec.Selector = &metav1.LabelSelector{}
	if _, _, err := f.Provision(t.Context(), ask); err == nil {
		t.Error("a claim with a selector is taken")
	}
}

// TestAnotherFolderStays: what this provisioner has not made, it does not remove.
func TestAnotherFolderStays(t *testing.T) {
	other := t.TempDir()
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: filepath.Base(other)}}
	pv.Spec.HostPath = &corev1.HostPathVolumeSource{Path: other}
	var ignored *controller.IgnoredError
	if err := folders(t.TempDir()).Delete(t.Context(), pv); !errors.As(err, &ignored) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
