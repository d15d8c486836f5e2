// Package source finds a model by its address: a folder, or an archive on this machine or at https://, s3://, gs:// or
// azblob://, which is fetched once into a cache by content, checked and unpacked. It knows nothing of what a model is.
package source

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Options of Fetch. The zero value works.
type Options struct {
	// Cache is the folder for what was fetched. If empty, weir/models in the user's cache folder.
	Cache string
	// MaxArchive and MaxModel bound the bytes of an archive and of what is in it. If zero, 8 GiB and 32 GiB.
	MaxArchive, MaxModel int64
	// Client makes the requests. If nil, one that gives up on a server that says nothing for a minute.
	Client *http.Client
	// Program is weir-fetch, which reads buckets. If empty, the one beside this program, or one folder up, or in PATH.
	Program string
	// Pause is the time before a fetch that broke off goes on, the first time; it doubles with each. If zero, a second.
	Pause time.Duration
	// Log gets the progress of a fetch.
	Log zerolog.Logger
}

func (o Options) withDefaults() (Options, error) {
	o.MaxArchive, o.MaxModel = cmp.Or(o.MaxArchive, 8<<30), cmp.Or(o.MaxModel, 32<<30)
	o.Pause = cmp.Or(o.Pause, time.Second)
	if o.Client == nil {
		o.Client = &http.Client{Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			ResponseHeaderTimeout: time.Minute,
			Proxy:                 http.ProxyFromEnvironment,
		}}
	}
	if o.Cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("cache folder: %w: give one", err)
		}
		o.Cache = filepath.Join(base, "weir", "models")
	}
	return o, nil
}

// Fetch returns the folder of the model that uri means. An archive (.tar, .tar.gz, .tgz or .zip) may be pinned by
// #sha256=HEX; one that is in the cache is not asked for again, and one without a digest is fetched again only if its
// server says that it has changed. Many processes may fetch into one cache at a time: one of them does, the others wait.
// Plain http is for this machine only.
func Fetch(ctx context.Context, uri string, o Options) (dir string, err error) {
	u, err := parse(uri)
	if err != nil {
		return "", err
	}
	if _, notArchive := archiveFormat(u.Path); u.Scheme == "file" && (notArchive != nil || isDir(u.Path)) {
		return folder(u.Path)
	}
	if o, err = o.withDefaults(); err != nil {
		return "", err
	}
	dir, err = fetchArchive(ctx, u, o)
	if err != nil {
		return "", fmt.Errorf("model %s: %w", u.Redacted(), err)
	}
	return dir, nil
}

func folder(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("model %s: no such folder", path)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("model %s: a file, expected the folder of a SavedModel, or its archive: .tar, .tar.gz, .tgz or .zip", path)
	}
	return path, nil
}

// Pin returns the address of an archive on this machine, with its digest: that model is meant, also when the file is
// another one or gone.
func Pin(archive string) (string, error) {
	if _, err := archiveFormat(archive); err != nil {
		return "", err
	}
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, err := sha256Of(f)
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: archive, Fragment: "sha256=" + sum}).String(), nil
}

// Check says what is wrong with a model's address, without looking whether anything is there.
func Check(uri string) error {
	_, err := parse(uri)
	return err
}

// parse reads a model's address. A path becomes a file URL.
func parse(uri string) (*url.URL, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" || !strings.Contains(uri, "://") {
		return &url.URL{Scheme: "file", Path: uri}, nil //nolint:nilerr // what is no URL is a path
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("model %s: a file of host %q: expected file:///path", uri, u.Host)
		}
	case "https":
	case "s3", "gs", "azblob":
		if u.Host == "" || strings.Trim(u.Path, "/") == "" {
			return nil, fmt.Errorf("model %s: expected %s://BUCKET/ARCHIVE", u.Redacted(), u.Scheme)
		}
	case "http":
		if !loopback(u.Hostname()) {
			return nil, fmt.Errorf("model %s: http is for this machine only, as anybody on the way could change the model: use https", u.Redacted())
		}
	default:
		return nil, fmt.Errorf("model %s: %q is not known here: expected a folder, file://, https://, s3://, gs:// or azblob://", u.Redacted(), u.Scheme)
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
