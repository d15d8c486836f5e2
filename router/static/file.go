// Package static is a backend for the router that a file describes: revisions that run elsewhere, each at a URL. It
// starts nothing, scales nothing and watches nothing; a change of the file needs a restart.
package static

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"weir.dev/weir/knative"
)

// File is what a services file says, in YAML:
//
//	services:
//	- name: imagenet
//	  url: http://imagenet.default.example.com   # its host means this model; optional
//	  eventTypes: [com.example.photo]            # CloudEvents types that mean it; optional
//	  revisions:
//	  - name: imagenet-00001
//	    url: http://10.0.0.7:8080                # where it answers
//	    tags: [lite0]
//	    percent: 100
//	    version: 1
//	    images: true                             # takes raw image bodies
//	    h2c: false                               # speak unencrypted HTTP/2 to it
type File struct {
	Services []Service `json:"services"`
}

// Service is one model.
type Service struct {
	Name       string     `json:"name"`
	URL        string     `json:"url,omitempty"`
	EventTypes []string   `json:"eventTypes,omitempty"`
	Revisions  []Revision `json:"revisions"`
}

// Revision is one revision of it.
type Revision struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Tags    []string `json:"tags,omitempty"`
	Percent int      `json:"percent,omitempty"`
	Version int64    `json:"version,omitempty"`
	Images  bool     `json:"images,omitempty"`
	H2C     bool     `json:"h2c,omitempty"`
}

// Load reads a services file.
func Load(path string) (*Backend, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("services file: %w", err)
	}
	b, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("services file %s: %w", path, err)
	}
	return b, nil
}

// Parse reads a services file's text. Unknown fields are errors.
func Parse(data []byte) (*Backend, error) {
	var f File
	if err := yaml.UnmarshalStrict(data, &f); err != nil {
		return nil, err
	}
	return New(f, time.Now())
}

// New makes a Backend. The revisions count as created at now. All problems are reported at once.
func New(f File, now time.Time) (*Backend, error) {
	b := newBackend()
	var problems []error
	for _, s := range f.Services {
		if s.Name == "" || len(s.Revisions) == 0 {
			problems = append(problems, fmt.Errorf("service %q: a name and at least one revision are needed", s.Name))
		}
		status := knative.ServiceStatus{Name: s.Name, URL: s.URL, Ready: true, Model: true, EventTypes: s.EventTypes}
		for _, r := range s.Revisions {
			problems = append(problems, b.add(r))
			status.Revisions = append(status.Revisions, knative.RevisionStatus{
				Name: r.Name, Tags: r.Tags, Percent: r.Percent, Version: r.Version, Images: r.Images,
				State: knative.StateReady, Ready: 1, Wanted: 1, Created: now,
			})
		}
		b.services = append(b.services, status)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Backend) add(r Revision) error {
	u, err := url.Parse(r.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return fmt.Errorf("revision %q: url %q is not http://HOST[:PORT] or https://HOST[:PORT]", r.Name, r.URL)
	}
	if _, twice := b.revisions[r.Name]; twice || r.Name == "" {
		return fmt.Errorf("revision %q: the name is empty or there twice", r.Name)
	}
	b.revisions[r.Name] = place{scheme: u.Scheme, host: u.Host, h2c: r.H2C}
	return nil
}
