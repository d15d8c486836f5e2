package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"weir.dev/weir/internal/lock"
)

// The cache has
//
//	DIGEST/         a model, unpacked
//	.KEY.lock       held while that archive is fetched; the key is its digest if it is pinned, else that of its address
//	.KEY.part       what has arrived of it, and
//	.KEY.part.json  of which version: a fetch that broke off goes on from there
//	.KEY.last.json  what an address without a digest gave the last time

// entry is an archive's place in the cache.
type entry struct {
	cache, key string
	pinned     string // the digest it must have; empty if it may be any
}

func (e entry) file(suffix string) string { return filepath.Join(e.cache, "."+e.key+suffix) }

// last is what an address gave the last time.
type last struct{ Version, Digest string }

// fetchArchive downloads, checks and unpacks, each step into a temporary name, so that the cache has whole models only.
func fetchArchive(ctx context.Context, u *url.URL, o Options) (dir string, err error) {
	pinned, err := digest(u.Fragment)
	if err != nil {
		return "", err
	}
	format, err := archiveFormat(u.Path)
	if err != nil {
		return "", err
	}
	address := *u
	address.Fragment = ""
	e := entry{cache: o.Cache, key: pinned, pinned: pinned}
	if pinned == "" {
		sum := sha256.Sum256([]byte(address.String()))
		e.key = hex.EncodeToString(sum[:])
	}
	if dir, ok := e.model(pinned); ok {
		return dir, nil
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	unlock, err := lock.File(ctx, e.file(".lock"))
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if dir, ok := e.model(pinned); ok {
		return dir, nil // another process fetched it while this one waited
	}
	return e.fetch(ctx, &address, format, o)
}

// model is the folder of the model with this digest, if the cache has it.
func (e entry) model(digest string) (string, bool) {
	dir := filepath.Join(e.cache, digest)
	return dir, digest != "" && isDir(dir)
}

// fetch is fetchArchive with the lock held.
func (e entry) fetch(ctx context.Context, u *url.URL, format string, o Options) (dir string, err error) {
	var before last
	if e.pinned == "" {
		// What cannot be read is not known.
		_ = readJSON(e.file(".last.json"), &before)
		if _, ok := e.model(before.Digest); !ok {
			before = last{}
		}
	}
	part, version, err := e.download(ctx, u, before.Version, o)
	if errors.Is(err, errUnchanged) {
		dir, _ := e.model(before.Digest)
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, part.Close(), e.forget()) }()
	sum, err := sha256Of(part)
	if err != nil {
		return "", err
	}
	if e.pinned != "" && sum != e.pinned {
		return "", fmt.Errorf("its digest is sha256=%s, expected sha256=%s: it is not the model that was meant", sum, e.pinned)
	}
	dir, err = unpackInto(filepath.Join(e.cache, sum), part, format, o)
	if err != nil {
		return "", full(err)
	}
	if e.pinned == "" && version != "" {
		err = writeJSON(e.file(".last.json"), last{version, sum})
	}
	return dir, err
}

// forget removes what has arrived.
func (e entry) forget() error {
	err := os.Remove(e.file(".part"))
	if other := os.Remove(e.file(".part.json")); !errors.Is(other, os.ErrNotExist) {
		err = errors.Join(err, other)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
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

func sha256Of(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// full says what to do if an error is that of a full disk.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("the cache's disk is full: make room, or choose another folder with --cache or $WEIR_CACHE: %w", err)
	}
	return err
}

func readJSON(name string, v any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func writeJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}
