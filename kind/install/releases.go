package install

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The releases that belong together: Knative's v1.23 is v0.50 of its Go modules.
const (
	knativeRelease       = "knative-v1.23.0"
	metricsServerRelease = "v0.8.0"
)

// releaseFiles are the files of the releases, by part.
var releaseFiles = map[Part][]string{
	Serving: {
		"https://github.com/knative/serving/releases/download/" + knativeRelease + "/serving-crds.yaml",
		"https://github.com/knative/serving/releases/download/" + knativeRelease + "/serving-core.yaml",
	},
	HPA:           {"https://github.com/knative/serving/releases/download/" + knativeRelease + "/serving-hpa.yaml"},
	Kourier:       {"https://github.com/knative-extensions/net-kourier/releases/download/" + knativeRelease + "/kourier.yaml"},
	MetricsServer: {"https://github.com/kubernetes-sigs/metrics-server/releases/download/" + metricsServerRelease + "/components.yaml"},
	Eventing: {
		"https://github.com/knative/eventing/releases/download/" + knativeRelease + "/eventing-crds.yaml",
		"https://github.com/knative/eventing/releases/download/" + knativeRelease + "/eventing-core.yaml",
		"https://github.com/knative/eventing/releases/download/" + knativeRelease + "/in-memory-channel.yaml",
		"https://github.com/knative/eventing/releases/download/" + knativeRelease + "/mt-channel-broker.yaml",
	},
}

// ReleaseFiles are the addresses of a part's manifests.
func ReleaseFiles(part Part) []string { return releaseFiles[part] }

// Releases gives the manifests of the pinned releases; it needs the internet.
func Releases(ctx context.Context, part Part) ([]byte, error) {
	var all bytes.Buffer
	for _, url := range releaseFiles[part] {
		data, err := fetch(ctx, url)
		if err != nil {
			return nil, err
		}
		all.WriteString("---\n")
		all.Write(data)
		all.WriteString("\n")
	}
	return all.Bytes(), nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	client := http.Client{Timeout: time.Minute}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, 64<<20))
}
