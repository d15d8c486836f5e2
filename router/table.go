package router

import (
	"errors"
	"net/url"
	"strings"

	"weir.dev/weir/knative"
	"weir.dev/weir/router/route"
)

// buildTable makes the routing table of what runs. One bad Service must not stop the others from being updated, so it is
// left out; the error says which were and why.
func buildTable(services []knative.ServiceStatus, self string) (*route.Table, error) {
	var models []route.Model
	for _, s := range services {
		if s.Name != self {
			models = append(models, routeModel(s))
		}
	}
	table, err := route.NewTable(models)
	if err == nil {
		return table, nil
	}
	var good []route.Model
	var left []error
	table, err = route.NewTable(nil)
	for _, m := range models {
		with, wrong := route.NewTable(append(good[:len(good):len(good)], m))
		if wrong != nil {
			left = append(left, wrong)
			continue
		}
		good, table = append(good, m), with
	}
	return table, errors.Join(append(left, err)...)
}

func routeModel(s knative.ServiceStatus) route.Model {
	m := route.Model{Name: s.Name, EventTypes: s.EventTypes, HostOnly: !s.Model}
	if !s.Model {
		m.EventTypes = nil
	}
	if u, err := url.Parse(s.URL); err == nil && u.Hostname() != "" {
		m.Hosts = []string{strings.ToLower(u.Hostname())}
	}
	for _, r := range s.Revisions {
		m.Revisions = append(m.Revisions, route.Revision{
			Name: r.Name, Tags: r.Tags, Version: r.Version, Percent: r.Percent, Images: r.Images,
			// What is idle or starting answers after a cold start: the backend holds the request.
			Ready: r.State != knative.StateFailed,
		})
	}
	return m
}

// hostName is a Host header without port and final dot, in lower case.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
