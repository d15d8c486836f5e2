// Package source finds a model by its address: a folder, file://, or the https:// address of an archive, which is fetched
// once into a cache by content, checked and unpacked. It knows nothing of what a model is.
package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	// Log gets the progress of a fetch.
	Log zerolog.Logger
}

func (o Options) withDefaults() (Options, error) {
	o.MaxArchive, o.MaxModel = cmp.Or(o.MaxArchive, 8<<30), cmp.Or(o.MaxModel, 32<<30)
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
// #sha256=HEX; pinned ones that are in the cache are not fetched again. Plain http is for this machine only.
func Fetch(ctx context.Context, uri string, o Options) (dir string, err error) {
	u, err := parse(uri)
	if err != nil {
		return "", err
	}
	if u.Scheme == "file" {
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
		return "", fmt.Errorf("model %s: a file, expected the folder of a SavedModel", path)
	}
	return path, nil
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
		return &url.URL{Scheme: "file", Path: uri}, nil
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("model %s: a file of host %q: expected file:///path", uri, u.Host)
		}
	case "https":
	case "http":
		if !loopback(u.Hostname()) {
			return nil, fmt.Errorf("model %s: http is for this machine only, as anybody on the way could change the model: use https", u.Redacted())
		}
	default:
		return nil, fmt.Errorf("model %s: %q is not known here: expected a folder, file:// or https://", u.Redacted(), u.Scheme)
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetchArchive downloads, checks and unpacks, each step into a temporary name, so that the cache has whole models only.
func fetchArchive(ctx context.Context, u *url.URL, o Options) (dir string, err error) {
	pinned, err := digest(u.Fragment)
	if err != nil {
		return "", err
	}
	if pinned != "" {
		if dir := filepath.Join(o.Cache, pinned); isDir(dir) {
			return dir, nil
		}
	}
	format, err := archiveFormat(u.Path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	archive, err := os.CreateTemp(o.Cache, ".fetch-*")
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	defer func() { err = errors.Join(err, archive.Close(), os.Remove(archive.Name())) }()
	sum, err := download(ctx, u, archive, o)
	if err != nil {
		return "", err
	}
	if pinned != "" && sum != pinned {
		return "", fmt.Errorf("its digest is sha256=%s, expected sha256=%s: it is not the model that was meant", sum, pinned)
	}
	return unpackInto(filepath.Join(o.Cache, sum), archive, format, o)
}

// digest reads sha256=HEX.
func digest(fragment string) (string, error) {
	if fragment == "" {
		return "", nil
	}
	sum, ok := strings.CutPrefix(fragment, "sha256=")
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("#%s is no digest: expected #sha256= and 64 hex digits", fragment)
	}
	return strings.ToLower(sum), nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// download copies the archive to w and returns its SHA-256.
func download(ctx context.Context, u *url.URL, w io.Writer, o Options) (string, error) {
	plain := *u
	plain.Fragment = ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, plain.String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := o.Client.Do(req)
	if err != nil {
		return "", fmt.Errorf("fetch: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("fetch: the server answered %s", resp.Status)
	}
	hash := sha256.New()
	p := &progress{log: o.Log, of: resp.ContentLength, last: time.Now()}
	n, err := io.Copy(io.MultiWriter(w, hash, p), io.LimitReader(resp.Body, o.MaxArchive+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("fetch broke off after %d bytes: %w", n, err)
	case n > o.MaxArchive:
		return "", fmt.Errorf("it is over the limit of %d bytes", o.MaxArchive)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// progress logs a line every few seconds.
type progress struct {
	log      zerolog.Logger
	done, of int64
	last     time.Time
}

func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	if now := time.Now(); now.Sub(p.last) > 2*time.Second {
		p.last = now
		p.log.Info().Int64("bytes", p.done).Int64("of", p.of).Msg("fetching the model")
	}
	return len(b), nil
}
