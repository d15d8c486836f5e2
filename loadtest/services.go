package loadtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/scenario"
)

const (
	readyLimit = 3 * time.Minute
	readyEvery = 200 * time.Millisecond
	cleanLimit = time.Minute
)

// prepare applies the scenario's services and waits until they are ready. Those that were not there are deleted later.
func (s *Session) prepare(ctx context.Context) error {
	var later []*servingv1.Service
	for _, c := range s.o.Scenario.Changes { // told now, not in the midst of the load
		services, err := s.load(c.Manifest)
		if err != nil {
			return fmt.Errorf("change at %v: %w", c.At, err)
		}
		later = append(later, services...)
	}
	var all []*servingv1.Service
	for _, m := range s.o.Scenario.Services {
		services, err := s.load(m)
		if err != nil {
			return err
		}
		all = append(all, services...)
	}
	if len(all) > 0 || len(s.o.Scenario.Changes) > 0 {
		if s.o.Engine == nil {
			return errors.New("the scenario has services or changes: start weir first (weir up -f knative/)")
		}
	}
	if len(all) == 0 {
		return s.checkTargets(ctx, later)
	}
	there, err := s.o.Engine.Services(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, svc := range all {
		if err := s.o.Engine.Apply(ctx, svc); err != nil {
			return fmt.Errorf("service %s: %w", svc.Name, err)
		}
		names = append(names, svc.Name)
		if !slices.ContainsFunc(there, func(t *servingv1.Service) bool { return t.Name == svc.Name }) {
			s.cleanup = append(s.cleanup, svc.Name)
		}
	}
	if err := s.awaitReady(ctx, names); err != nil {
		return err
	}
	return s.checkTargets(ctx, later)
}

// checkTargets says whether the models that the loads ask for are there, with their tags, or come later.
func (s *Session) checkTargets(ctx context.Context, later []*servingv1.Service) error {
	if s.o.Engine == nil || s.o.Asked && s.o.At == "" { // the address may be another weir's
		return nil
	}
	var there []knative.ServiceStatus
	for _, l := range s.o.Scenario.Loads {
		t := l.Target
		if t.URL != "" || slices.ContainsFunc(later, func(svc *servingv1.Service) bool { return svc.Name == t.Model }) {
			continue
		}
		if there == nil {
			var err error
			if there, err = s.o.Engine.Status(ctx); err != nil {
				return err
			}
		}
		if err := checkTarget(t, there); err != nil {
			return fmt.Errorf("load %s: %w", l.Name, err)
		}
	}
	return nil
}

func checkTarget(t scenario.Target, there []knative.ServiceStatus) error {
	var models, tags []string
	for _, svc := range there {
		if !svc.Model {
			continue
		}
		models = append(models, svc.Name)
		for _, rev := range svc.Revisions {
			if svc.Name == t.Model {
				tags = append(tags, rev.Tags...)
			}
		}
	}
	switch {
	case !slices.Contains(models, t.Model):
		return fmt.Errorf("there is no model %q: %s", t.Model, oneOf(models))
	case t.Tag != "" && !slices.Contains(tags, t.Tag):
		return fmt.Errorf("model %s has no tag %q: %s", t.Model, t.Tag, oneOf(tags))
	}
	return nil
}

func oneOf(names []string) string {
	if len(names) == 0 {
		return "there are none"
	}
	return "there are " + strings.Join(names, ", ")
}

// load reads a manifest's services, with their images in the registry.
func (s *Session) load(manifest string) ([]*servingv1.Service, error) {
	services, err := knative.Load(manifest)
	for _, svc := range services {
		for i := range svc.Spec.Template.Spec.Containers {
			if c := &svc.Spec.Template.Spec.Containers[i]; s.o.Registry != "" && strings.HasPrefix(c.Image, "weir/") {
				c.Image = s.o.Registry + "/" + c.Image
			}
		}
	}
	return services, err
}

func (s *Session) awaitReady(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		all, err := s.o.Engine.Status(ctx)
		if err != nil {
			return err
		}
		waiting := ""
		for _, svc := range all {
			if slices.Contains(names, svc.Name) && !svc.Ready {
				waiting = svc.Name + ": " + svc.Message
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("service %s is not ready: %w", waiting, ctx.Err())
		}
	}
}

// change makes the scenario's changes at their times.
func (s *Session) change(ctx context.Context) {
	began := time.Now()
	for _, c := range s.o.Scenario.Changes {
		timer := time.NewTimer(time.Until(began.Add(c.At)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		services, err := s.load(c.Manifest)
		for _, svc := range services {
			err = errors.Join(err, s.o.Engine.Apply(ctx, svc))
		}
		if err != nil {
			s.err = fmt.Errorf("change at %v: %w", c.At, err)
			s.recorder.Note(s.err.Error())
			return
		}
		s.recorder.Note(fmt.Sprintf("At %v %s was applied.", c.At, c.Manifest))
	}
}

// clean deletes the services that prepare has made.
func (s *Session) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
	defer cancel()
	var problems []error
	for _, name := range s.cleanup {
		if err := s.o.Engine.Delete(ctx, name); err != nil {
			problems = append(problems, fmt.Errorf("service %s stays: %w", name, err))
		}
	}
	return errors.Join(problems...)
}
