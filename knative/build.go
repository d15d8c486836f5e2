package knative

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/shlex"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/functions/source"
)

// DefaultImage is the image of the function for any SavedModel.
const DefaultImage = "weir/savedmodel"

// EnvModelVersion tells a function the number of the version it serves, where the model's folder does not have it.
const EnvModelVersion = "WEIR_MODEL_VERSION"

// EnvModelName tells a function the name of its model.
const EnvModelName = "MODEL_NAME"

// EnvCache tells a function where to keep a model that it fetches.
const EnvCache = "WEIR_CACHE"

// DeployOptions say what `weir deploy` is to make of a Service. Of an existing Service, what is not given stays as its
// template says.
type DeployOptions struct {
	// Name is the model's and the Service's name.
	Name string
	// Model is the SavedModel: an absolute folder, or an address that functions/source knows. It may be empty for an
	// existing Service.
	Model string
	// Cluster says that the Service is for a cluster: it gets no local command, so that Function and Command mean nothing.
	// Model is then an address or a folder in the image, and may be empty if Image has the model where its function looks.
	Cluster bool
	// Function is the absolute path of the function program that serves any SavedModel. An existing Service whose local
	// command has a --model keeps its own program and gets the new model.
	Function string
	// Image is the container image for a cluster. If empty, DefaultImage for a new Service.
	Image string
	// Tag names the new revision in the traffic block. If empty, none.
	Tag string
	// Traffic is the new revision's percentage. If nil, 100.
	Traffic *int
	// MinScale and MaxScale bound the replicas. A zero is not given unless Given says so; then MaxScale is no bound.
	MinScale, MaxScale int
	// Concurrency is containerConcurrency. A zero is not given unless Given says so; then it is no limit.
	Concurrency int64
	// Given says whether the setting of a flag, min-scale, max-scale or concurrency, is meant although it is zero, as
	// Changed of a flag set does. If nil, none is.
	Given func(flag string) bool
	// Target is the number of requests in flight to aim at for a replica. If zero, not given.
	Target int
	// Window is the stable window. If zero, not given.
	Window time.Duration
	// Version is the model version's number. If zero: the existing template's while the command, or on a cluster the model
	// and the image, stay the same, else the number that is the last element of Model, else the existing template's plus one, else 1.
	Version int64
	// Command is the local command in place of the one that Function and Model make.
	Command string
	// CacheClaim is the PersistentVolumeClaim, on a cluster, in which replicas and revisions share what they fetch. If empty,
	// each pod keeps its own.
	CacheClaim string
	// Env is set in the container, KEY=VALUE, on top of the existing template's.
	Env []string
	// Batch is AnnotationBatch: BatchAuto, BatchOff or a number of rows. If empty, as the existing template has it.
	Batch string
	// H2C says that the container's port takes HTTP/2 without encryption, which gRPC at the model's own address on a cluster
	// needs; by way of the router it does not. A false is not given unless Given says so.
	H2C bool
	// Images says that the model takes raw image bodies.
	Images bool
	// Revisions are the names of the revisions there are, besides those that the Service itself names: a new one must
	// not have any of these.
	Revisions []string
	// Failed are the revisions that failed before they were ever ready: they keep no share and no tag, since no engine puts
	// a traffic block in force that names one.
	Failed []string
	// Latest is the revision that latestRevision means in the existing traffic block. If empty, the one that the
	// existing template makes.
	Latest string
}

// Build returns the Service with a new revision by o and the traffic that o gives it; existing may be nil and is not
// changed. The new revision is named after the highest number there is. The traffic block names revisions only, never
// the latest one, so that the next deploy starts with what o.Traffic says. The result has been through Prepare.
func Build(existing *servingv1.Service, o DeployOptions) (*servingv1.Service, error) {
	if err := o.validate(existing); err != nil {
		return nil, fmt.Errorf("deploy %s: %w", cmp.Or(o.Name, "(no name)"), err)
	}
	svc := newService(o.Name)
	if existing != nil {
		svc = existing.DeepCopy()
	}
	before := ""
	if existing != nil {
		before = cmp.Or(o.Latest, RevisionName(existing, max(existing.Generation, 1)))
	}
	name := nextRevision(svc, o.Name, append([]string{before}, o.Revisions...))
	o.applyTemplate(&svc.Spec.Template, name)
	traffic, err := shift(svc.Spec.Traffic, before, name, o)
	if err != nil {
		return nil, fmt.Errorf("deploy %s: %w", o.Name, err)
	}
	svc.Spec.Traffic = traffic
	svc.Status = servingv1.ServiceStatus{}
	if _, err := Prepare(context.Background(), svc); err != nil {
		return nil, fmt.Errorf("deploy %s: %w", o.Name, err)
	}
	return svc, nil
}

func (o DeployOptions) validate(existing *servingv1.Service) error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if existing != nil && existing.Name != o.Name {
		add("the existing service is %s", existing.Name)
	}
	if existing != nil && existing.Labels[LabelModel] == "" {
		add("service %s is no model: it has no label %s: choose another name", existing.Name, LabelModel)
	}
	switch address := strings.Contains(o.Model, "://"); {
	case o.Model == "" && existing == nil && o.Cluster && o.Image == "":
		add("--model or --image is required for a new model: the address of a SavedModel's archive, or an image that has one")
	case o.Model == "" && existing == nil && !o.Cluster && o.Command == "":
		add("--model is required for a new model: the folder of a SavedModel, or the address of its archive: https://, s3://, gs:// or azblob://")
	case o.Model == "":
	case o.Cluster && (strings.HasPrefix(o.Model, "file://") || !address && !path.IsAbs(o.Model)):
		add("--model %q: the cluster sees no folder of this machine: give an address, or an absolute path in the image that --image names", o.Model)
	case !address && !filepath.IsAbs(o.Model):
		add("--model %q: a folder's path must be absolute", o.Model)
	case address:
		if err := source.Check(o.Model); err != nil {
			problems = append(problems, err)
		}
	}
	if o.Model != "" && o.Command == "" && !o.Cluster && !filepath.IsAbs(o.Function) {
		add("the function program %q must be an absolute path", o.Function)
	}
	if o.CacheClaim != "" && !o.Cluster {
		add("--cache-claim %s: it is for a cluster; on one machine all models share a folder: --env %s=DIR", o.CacheClaim, EnvCache)
	}
	if o.Traffic != nil && (*o.Traffic < 0 || *o.Traffic > 100) {
		add("--traffic %d: it must be from 0 to 100", *o.Traffic)
	}
	if existing == nil && o.Traffic != nil && *o.Traffic != 100 {
		add("--traffic %d: the first revision takes all, 100", *o.Traffic)
	}
	for _, setting := range []struct {
		flag  string
		value int64
	}{
		{"min-scale", int64(o.MinScale)}, {"max-scale", int64(o.MaxScale)}, {"concurrency", o.Concurrency},
		{"target", int64(o.Target)}, {"version", o.Version},
	} {
		if setting.value < 0 {
			add("--%s %d: it must not be negative", setting.flag, setting.value)
		}
	}
	for _, pair := range o.Env {
		if key, _, ok := strings.Cut(pair, "="); !ok || key == "" {
			add("--env %q: it must be KEY=VALUE", pair)
		}
	}
	return errors.Join(problems...)
}

// nextRevision returns NAME-%05d with the number after the highest of the revisions that are known by name.
func nextRevision(svc *servingv1.Service, name string, known []string) string {
	known = append(known, svc.Spec.Template.Name, svc.Status.LatestCreatedRevisionName, svc.Status.LatestReadyRevisionName)
	for _, tt := range svc.Spec.Traffic {
		known = append(known, tt.RevisionName)
	}
	slices.Sort(known)
	known = slices.DeleteFunc(slices.Compact(known), func(s string) bool { return s == "" })
	// Names that are no numbers count too: the revision after imagenet-lite0 and imagenet-lite2 is the third.
	highest := len(known)
	for _, rev := range known {
		if n, err := strconv.Atoi(strings.TrimPrefix(rev, name+"-")); err == nil {
			highest = max(highest, n)
		}
	}
	return fmt.Sprintf("%s-%05d", name, highest+1)
}

// applyTemplate makes the template that of the new revision.
func (o DeployOptions) applyTemplate(t *servingv1.RevisionTemplateSpec, name string) {
	t.Name = name
	if t.Annotations == nil {
		t.Annotations = make(map[string]string)
	}
	served := t.Annotations[AnnotationLocalCommand]
	if o.Cluster {
		// What stands there is another machine's.
		delete(t.Annotations, AnnotationLocalCommand)
		delete(t.Annotations, AnnotationLocalDir)
	} else {
		t.Annotations[AnnotationLocalCommand] = o.command(served)
	}
	changed := o.Cluster && o.Model+o.Image != "" || !o.Cluster && t.Annotations[AnnotationLocalCommand] != served
	if o.Model != "" {
		delete(t.Labels, LabelFetch)
		if scheme, _, ok := strings.Cut(o.Model, "://"); ok && scheme != "file" {
			t.Labels[LabelFetch] = "true"
		}
	}
	version, err := strconv.ParseInt(t.Annotations[AnnotationVersion], 10, 64)
	if o.Version != 0 || err != nil || changed {
		version = o.version(version)
	}
	t.Annotations[AnnotationVersion] = strconv.FormatInt(version, 10)
	if o.Batch != "" {
		t.Annotations[AnnotationBatch] = o.Batch
	}
	if o.Images {
		t.Annotations[AnnotationImages] = "true"
	}
	if o.given("min-scale", o.MinScale != 0) {
		replace(t.Annotations, autoscaling.MinScaleAnnotation, strconv.Itoa(o.MinScale))
	}
	if o.given("max-scale", o.MaxScale != 0) {
		replace(t.Annotations, autoscaling.MaxScaleAnnotation, strconv.Itoa(o.MaxScale))
	}
	if o.Target != 0 {
		replace(t.Annotations, autoscaling.TargetAnnotation, strconv.Itoa(o.Target))
	}
	if o.Window != 0 {
		replace(t.Annotations, autoscaling.WindowAnnotation, o.Window.String())
	}
	if o.given("concurrency", o.Concurrency != 0) {
		limit := o.Concurrency
		t.Spec.ContainerConcurrency = &limit
	}
	if len(t.Spec.Containers) == 0 {
		t.Spec.Containers = []corev1.Container{{}} // Prepare says what is wrong with it
	}
	o.applyContainer(&t.Spec.Containers[0], version)
	if o.Cluster && (strings.Contains(o.Model, "://") || o.CacheClaim != "") {
		addCache(&t.Spec.PodSpec, o.CacheClaim)
	}
	if o.Cluster && t.Spec.AutomountServiceAccountToken == nil {
		no := false // a model asks nothing of the cluster
		t.Spec.AutomountServiceAccountToken = &no
	}
}

func (o DeployOptions) given(flag string, nonzero bool) bool {
	return nonzero || o.Given != nil && o.Given(flag)
}

// command is the new revision's local command, after the existing template's.
func (o DeployOptions) command(before string) string {
	if o.Command != "" {
		return o.Command
	}
	if o.Model == "" {
		return before
	}
	// A command that shlex cannot read has no --model to replace.
	words, _ := shlex.Split(before)
	at := slices.Index(words, "--model") + 1
	if at == 0 || at == len(words) {
		return quote(o.Function) + " --model " + quote(o.Model)
	}
	words[at] = o.Model
	for i := range words {
		words[i] = quote(words[i])
	}
	return strings.Join(words, " ")
}

// applyContainer sets what the container of the new revision needs on a cluster too.
func (o DeployOptions) applyContainer(c *corev1.Container, version int64) {
	if o.Image != "" {
		c.Image = o.Image
	}
	if o.Model != "" {
		c.Args = []string{"--model", o.Model}
	}
	if o.Cluster {
		setEnv(c, EnvModelName, o.Name) // the image may be another model's
	}
	if o.given("h2c", o.H2C) {
		setPort(c, o.H2C)
	}
	for _, pair := range o.Env {
		key, value, _ := strings.Cut(pair, "=")
		setEnv(c, key, value)
	}
	if o.Model != "" || o.Version != 0 {
		setEnv(c, EnvModelVersion, strconv.FormatInt(version, 10))
	}
}

// setPort names the protocol that Knative speaks to the container.
func setPort(c *corev1.Container, h2c bool) {
	if len(c.Ports) == 0 {
		c.Ports = []corev1.ContainerPort{{ContainerPort: servingv1.DefaultUserPort}}
	}
	c.Ports[0].Name = string(networking.ProtocolHTTP1)
	if h2c {
		c.Ports[0].Name = string(networking.ProtocolH2C)
	}
}

func setEnv(c *corev1.Container, key, value string) {
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == key })
	c.Env = append(c.Env, corev1.EnvVar{Name: key, Value: value})
}

// version is the new revision's, after the existing template's.
func (o DeployOptions) version(before int64) int64 {
	if o.Version != 0 {
		return o.Version
	}
	if n, err := strconv.ParseInt(path.Base(filepath.ToSlash(o.Model)), 10, 64); err == nil && n > 0 {
		return n
	}
	return before + 1
}

// replace sets an annotation under its present name and takes its older spellings away.
func replace(ann map[string]string, keys []string, value string) {
	for _, key := range keys {
		delete(ann, key)
	}
	ann[keys[0]] = value
}

// quote writes a word so that LocalCommand reads it as one.
func quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\n\r'\"\\#") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
