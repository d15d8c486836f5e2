package knative

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/shlex"
	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// LocalCommand returns what a replica of the template is on one machine: the program and its arguments, with relative
// paths resolved against AnnotationLocalDir, or {CommandRouter}. Words are split as a shell splits them; nothing is
// expanded. A program without a slash is looked up in PATH by who starts it.
func LocalCommand(t *servingv1.RevisionTemplateSpec) ([]string, error) {
	text, ok := t.Annotations[AnnotationLocalCommand]
	if !ok {
		return nil, fmt.Errorf("%s: not set: it says which program is a replica on one machine", AnnotationLocalCommand)
	}
	words, err := shlex.Split(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %q: %w", AnnotationLocalCommand, text, err)
	}
	if len(words) == 0 || words[0] == "" {
		return nil, fmt.Errorf("%s: empty: it must name a program", AnnotationLocalCommand)
	}
	if strings.HasPrefix(words[0], "builtin:") {
		if len(words) != 1 || words[0] != CommandRouter {
			return nil, fmt.Errorf("%s: %q: the only built-in command is %s, without arguments", AnnotationLocalCommand, text, CommandRouter)
		}
		return words, nil
	}
	dir := t.Annotations[AnnotationLocalDir]
	for i, word := range words {
		relative := strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../")
		if i == 0 && !relative {
			relative = strings.Contains(word, "/") && !filepath.IsAbs(word)
		}
		if !relative {
			continue
		}
		if dir == "" {
			return nil, fmt.Errorf("%s: %q is relative and there is no %s: give an absolute path", AnnotationLocalCommand, word, AnnotationLocalDir)
		}
		words[i] = filepath.Join(dir, word)
	}
	return words, nil
}

// ValidateLocal says, all at once, what of a Service one machine cannot honour and what to do about it. Resource
// requests and limits and the security context are a cluster's and change nothing here.
func ValidateLocal(svc *servingv1.Service) error {
	t := &svc.Spec.Template
	var problems []error
	if _, err := LocalCommand(t); err != nil {
		problems = append(problems, err)
	}
	if svc.Namespace != "" && svc.Namespace != DefaultNamespace {
		problems = append(problems, fmt.Errorf("metadata.namespace: %q: one machine has the namespace %s only: leave it out", svc.Namespace, DefaultNamespace))
	}
	if len(t.Spec.Volumes) > 0 {
		problems = append(problems, errors.New("spec.template.spec.volumes: a process has no volumes: give it a path"))
	}
	for _, c := range t.Spec.Containers {
		if len(c.EnvFrom) > 0 {
			problems = append(problems, errors.New("spec.template.spec.containers.envFrom: there are no config maps or secrets: list the values under env"))
		}
		for _, env := range c.Env {
			if env.ValueFrom != nil {
				problems = append(problems, fmt.Errorf("spec.template.spec.containers.env %s: there are no config maps, secrets or fields to take it from: give a value", env.Name))
			}
		}
		problems = append(problems, validateProbe("readinessProbe", c.ReadinessProbe), validateProbe("livenessProbe", c.LivenessProbe), validateProbe("startupProbe", c.StartupProbe))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("service %s on one machine: %w", svc.Name, err)
	}
	return nil
}

func validateProbe(name string, p *corev1.Probe) error {
	if p == nil || p.Exec == nil && p.GRPC == nil {
		return nil
	}
	return fmt.Errorf("spec.template.spec.containers.%s: only httpGet and tcpSocket are probed on one machine", name)
}
