package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
	"weir.dev/weir/knative/local/autoscale"
)

// Client speaks to the engine that runs with a state folder.
type Client struct {
	dir  string
	info info
	http *http.Client
}

var (
	_ knative.Engine   = (*Client)(nil)
	_ knative.Observer = (*Client)(nil)
)

// Dial finds the engine of a state folder; "" means DefaultStateDir.
func Dial(stateDir string) (*Client, error) {
	if stateDir == "" {
		stateDir = DefaultStateDir()
	}
	i, err := readInfo(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notRunning(stateDir)
	}
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", i.Socket)
	}
	c := &Client{dir: stateDir, info: i, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
	// A crashed engine leaves its engine.json.
	conn, err := dial(context.Background(), "", "")
	if err != nil {
		return nil, notRunning(stateDir)
	}
	return c, conn.Close()
}

func notRunning(stateDir string) error {
	return fmt.Errorf("weir is not running (state folder %s): start it with: weir up -f knative/", stateDir)
}

// Address is the host:port that the router serves on.
func (c *Client) Address() string { return c.info.Address }

// Apply creates or updates a Service.
func (c *Client) Apply(ctx context.Context, svc *servingv1.Service) error {
	return c.call(ctx, http.MethodPut, "/services/"+url.PathEscape(svc.Name), svc, nil)
}

// Services returns the Services as they were applied.
func (c *Client) Services(ctx context.Context) (out []*servingv1.Service, err error) {
	err = c.call(ctx, http.MethodGet, "/services", nil, &out)
	return out, err
}

// Status returns what runs.
func (c *Client) Status(ctx context.Context) (out []knative.ServiceStatus, err error) {
	err = c.call(ctx, http.MethodGet, "/status", nil, &out)
	return out, err
}

// Decisions returns the autoscaler's last decisions about a revision, oldest first.
func (c *Client) Decisions(ctx context.Context, revision string) (out []autoscale.Decision, err error) {
	err = c.call(ctx, http.MethodGet, "/revisions/"+url.PathEscape(revision)+"/decisions", nil, &out)
	return out, err
}

// Observe returns what runs and uses the machine now, and the decisions after a time.
func (c *Client) Observe(ctx context.Context, since time.Time) (out knative.Observation, err error) {
	err = c.call(ctx, http.MethodGet, "/observe?since="+url.QueryEscape(since.Format(time.RFC3339Nano)), nil, &out)
	return out, err
}

// Delete drains a service's replicas and forgets it.
func (c *Client) Delete(ctx context.Context, service string) error {
	return c.call(ctx, http.MethodDelete, "/services/"+url.PathEscape(service), nil, nil)
}

// Version returns the engine's version.
func (c *Client) Version(ctx context.Context) (out string, err error) {
	err = c.call(ctx, http.MethodGet, "/version", nil, &out)
	return out, err
}

// Logs copies a service's log lines to w.
func (c *Client) Logs(ctx context.Context, service string, follow bool, w io.Writer) error {
	path := "/services/" + url.PathEscape(service) + "/logs"
	if follow {
		path += "?follow"
	}
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// Shutdown asks the engine to drain and end, and waits until it has.
func (c *Client) Shutdown(ctx context.Context) error {
	if err := c.call(ctx, http.MethodPost, "/shutdown", nil, nil); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !unlocked(c.dir) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("weir still drains: %w", ctx.Err())
		}
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("weir's answer: %w", err)
	}
	return nil
}

// do makes a request; an answer that is not 200 is an error.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://weir"+path, reader)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("weir did not answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Error == "" {
		return nil, fmt.Errorf("weir answered %s", resp.Status)
	}
	return nil, errors.New(e.Error)
}
