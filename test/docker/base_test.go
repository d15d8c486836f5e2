//go:build docker

package docker

import (
	"os"
	"regexp"

	"weir.dev/weir/internal/harness"
)

// makeBase makes the base image that the Dockerfile asks for, where no registry of images can be reached: of Debian's
// packages and this machine's Go, with what Docker Hub's image of that name has of use here. It is kept for the next run.
func (e *engine) makeBase() {
	e.Helper()
	dockerfile, err := os.ReadFile(harness.Path("Dockerfile"))
	if err != nil {
		e.Fatal(err)
	}
	bases := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^FROM ([^\s:]+:\S+)`).FindAllStringSubmatch(string(dockerfile), -1) {
		bases[m[1]] = true
	}
	if len(bases) != 1 {
		e.Fatalf("the Dockerfile's bases are %v: this test makes one, golang:…-bookworm", bases)
	}
	for name := range bases {
		if e.docker("image", "inspect", name) == nil {
			continue
		}
		e.Logf("making %s", name)
		// On this machine's network.
		e.run("bash", "-euo", "pipefail", "-c", `
mmdebstrap --quiet --variant=apt --include=ca-certificates,g++,gcc,git,libc6-dev,make,pkg-config \
  --customize-hook='mkdir "$1/usr/local/go" && cp -a "$(go env GOROOT)/." "$1/usr/local/go"' \
  --customize-hook='cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"' bookworm - |
docker import --change 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV GOPATH=/go GOTOOLCHAIN=local' --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' --change 'WORKDIR /go' \
  - "$0"`, name)
	}
}
