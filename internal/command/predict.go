package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/knative"
	"weir.dev/weir/router/fetch"
)

// predictOptions are the flags of weir predict.
type predictOptions struct {
	place
	image, json, tag, address string
	version                   int64
	timeout                   time.Duration
	output                    output
}

func (e *env) predict() *cobra.Command {
	var o predictOptions
	cmd := &cobra.Command{
		Use:   "predict NAME (--image FILE|URL | --json FILE)",
		Short: "Ask a model for a prediction",
		Long: `Ask a model for a prediction, through the router: an image as it is, or a JSON body of TensorFlow Serving's REST API
({"instances": …} or {"inputs": …}). A FILE of - is standard input.`,
		Example: `  weir predict imagenet --image cat.jpg
  weir predict imagenet --image https://tensorflow.org/images/blogs/serving/cat.jpg --tag lite2
  echo '{"instances": [1.0, 2.0]}' | weir predict half --json -`,
		Args: exactly("NAME"),
	}
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", "image to send: a file, - or an http(s) URL")
	f.StringVar(&o.json, "json", "", "JSON body to send: a file or -")
	f.StringVar(&o.tag, "tag", "", "ask the revision with this tag")
	f.Int64Var(&o.version, "version", 0, "ask for this version of the model")
	f.StringVar(&o.address, "address", "", "address of the router, or of the cluster's ingress (default: found from the engine)")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait for the answer, a cold start included")
	outputFlag(cmd, &o.output, outputTable, outputJSON)
	placeFlags(cmd, &o.place)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (o.image == "") == (o.json == "") {
			return usagef(cmd, "give either --image or --json")
		}
		if o.tag != "" && o.version != 0 {
			return usagef(cmd, "give either --tag or --version")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
		defer cancel()
		return e.runPredict(ctx, args[0], o)
	}
	return cmd
}

func (e *env) runPredict(ctx context.Context, name string, o predictOptions) error {
	body, contentType, err := e.predictBody(ctx, o)
	if err != nil {
		return err
	}
	at, client, err := e.router(ctx, o)
	if err != nil {
		return err
	}
	path := "/v1/models/" + url.PathEscape(name)
	if o.version != 0 {
		path += fmt.Sprintf("/versions/%d", o.version)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at+path+":predict", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("address %q: %w", o.address, err)
	}
	req.Header.Set("Content-Type", contentType)
	if o.tag != "" {
		req.Header.Set("X-Weir-Tag", o.tag)
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", at, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return answerError(resp.Status, answer)
	}
	if o.output == outputJSON {
		_, err = e.out.Write(append(bytes.TrimSpace(answer), '\n'))
		return err
	}
	return e.printPrediction(answer, resp.Header, time.Since(start))
}

// router returns the router's URL, without a slash at its end, and a client whose connections lead there.
func (e *env) router(ctx context.Context, o predictOptions) (string, *http.Client, error) {
	if o.address != "" && o.on == onLocal {
		at := o.address
		if !strings.Contains(at, "://") {
			at = "http://" + at
		}
		return strings.TrimSuffix(at, "/"), http.DefaultClient, nil
	}
	engine, err := e.dial(o.place)
	if err != nil {
		return "", nil, err
	}
	u, at, err := engine.Router(ctx, o.address)
	if err != nil {
		return "", nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, at)
	}
	return strings.TrimSuffix(u.String(), "/"), &http.Client{Transport: transport}, nil
}

// predictBody reads what to send, and its content type.
func (e *env) predictBody(ctx context.Context, o predictOptions) ([]byte, string, error) {
	switch {
	case o.json != "":
		body, err := e.readInput(o.json)
		return body, "application/json", err
	case strings.HasPrefix(o.image, "http://"), strings.HasPrefix(o.image, "https://"):
		// The person at the keyboard may fetch from their own network: the router's rules are for strangers.
		f, err := fetch.New(fetch.Options{Allow: []string{"0.0.0.0/0", "::/0"}})
		if err != nil {
			return nil, "", err
		}
		return f.Image(ctx, o.image)
	}
	body, err := e.readInput(o.image)
	if err != nil {
		return nil, "", err
	}
	contentType := http.DetectContentType(body)
	if !strings.HasPrefix(contentType, "image/") {
		return nil, "", fmt.Errorf("%s is no image (it looks like %s): expected JPEG, PNG, GIF or BMP", o.image, contentType)
	}
	return body, contentType, nil
}

func (e *env) readInput(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(e.in)
	}
	return os.ReadFile(name)
}

func answerError(status string, body []byte) error {
	var e struct{ Error string }
	if json.Unmarshal(body, &e) == nil && e.Error != "" {
		return fmt.Errorf("%s: %s", status, e.Error)
	}
	return errors.New(status)
}

// printPrediction prints the best classes as bars where the answer has labels and scores, else the JSON as it came.
func (e *env) printPrediction(answer []byte, h http.Header, took time.Duration) error {
	var classes struct {
		Predictions []struct {
			Labels []string
			Scores []float64
		}
	}
	if json.Unmarshal(answer, &classes) == nil && len(classes.Predictions) > 0 && len(classes.Predictions[0].Labels) > 0 {
		for _, p := range classes.Predictions {
			rows := make([][]string, len(p.Labels))
			for i, label := range p.Labels {
				if i < len(p.Scores) {
					rows[i] = []string{fmt.Sprintf("%5.1f%%", 100*p.Scores[i]), strings.Repeat("█", int(30*p.Scores[i]+0.5)), label}
				}
			}
			if err := table(e.out, rows); err != nil {
				return err
			}
		}
	} else if _, err := e.out.Write(append(bytes.TrimSpace(answer), '\n')); err != nil {
		return err
	}
	cold := ""
	if h.Get(knative.HeaderColdStart) == "true" {
		cold = ", a cold start"
	}
	_, err := fmt.Fprintf(e.err, "%s in %d ms%s\n", h.Get(knative.HeaderRevision), took.Milliseconds(), cold)
	return err
}
