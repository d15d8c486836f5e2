package source

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Object says what follows: the bytes of an archive. weir-fetch writes it as a line of JSON before them.
type Object struct {
	// Size is the whole archive's, -1 if it is not known.
	Size int64 `json:"size"`
	// Version is another one for each content; empty if it is not known.
	Version string `json:"version"`
	// From is the first byte that follows.
	From int64 `json:"from"`
	// Unchanged says that nothing follows: the version is the known one.
	Unchanged bool `json:"unchanged"`
}

// ExitRefused is weir-fetch's exit code for what will not succeed if it is tried again.
const ExitRefused = 2

var (
	errUnchanged = errors.New("unchanged")
	// errBroken is for a fetch that may succeed if it is tried again.
	errBroken = errors.New("fetch broke off")
)

// attempts are how often a fetch that brings nothing new is tried. One that does is tried on.
const attempts = 5

// part is what has arrived of an archive.
type part struct {
	*os.File
	size    int64
	version string
}

// download returns the whole archive and its version, or errUnchanged if that is the known one. A fetch that breaks off
// goes on where it was; if it cannot, what has arrived is kept for the next one. After any other error nothing is.
func (e entry) download(ctx context.Context, u *url.URL, known string, o Options) (f *os.File, version string, err error) {
	p, err := e.openPart()
	if err != nil {
		return nil, "", fmt.Errorf("cache folder: %w", err)
	}
	pause := o.Pause
	for left := attempts; ; left-- {
		before := p.size
		err = e.attempt(ctx, u, p, known, o)
		if err == nil {
			return p.File, p.version, nil
		}
		if p.size > before {
			left, pause = attempts, o.Pause
		}
		if !errors.Is(err, errBroken) || left <= 1 || ctx.Err() != nil {
			break
		}
		o.Log.Warn().Err(err).Int64("bytes", p.size).Dur("pause", pause).Msg("fetching the model: trying again")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause *= 2
	}
	err = errors.Join(full(err), p.Close())
	if !errors.Is(err, errBroken) || p.version == "" || p.size == 0 {
		err = errors.Join(err, e.forget())
	}
	return nil, "", err
}

// openPart opens what has arrived earlier.
func (e entry) openPart() (*part, error) {
	f, err := os.OpenFile(e.file(".part"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	p := &part{File: f}
	// Without its version, nothing can be made of it.
	if readJSON(e.file(".part.json"), &p.version) == nil {
		if p.size, err = f.Seek(0, io.SeekEnd); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return p, nil
}

// attempt fetches what is missing.
func (e entry) attempt(ctx context.Context, u *url.URL, p *part, known string, o Options) (err error) {
	open := openBucket
	switch u.Scheme {
	case "http", "https":
		open = openHTTP
	case "file":
		open = openFile
	}
	object, body, err := open(ctx, u, Object{From: p.size, Version: p.version}, known, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if object.Unchanged {
		return errUnchanged
	}
	if object.Size > o.MaxArchive {
		return fmt.Errorf("it is over the limit of %d bytes", o.MaxArchive)
	}
	if err := e.rewind(p, object); err != nil {
		return err
	}
	report := &progress{log: o.Log, done: p.size, of: object.Size, last: time.Now()}
	n, err := io.Copy(io.MultiWriter(p, report), reading{io.LimitReader(body, o.MaxArchive+1-p.size)})
	p.size += n
	switch {
	case err != nil:
		return fmt.Errorf("after %d bytes: %w", p.size, err)
	case p.size > o.MaxArchive:
		return fmt.Errorf("it is over the limit of %d bytes", o.MaxArchive)
	case object.Size >= 0 && p.size < object.Size:
		return fmt.Errorf("%w after %d bytes of %d", errBroken, p.size, object.Size)
	}
	return nil
}

// rewind makes the part ready for an object's bytes.
func (e entry) rewind(p *part, object Object) error {
	p.size = object.From
	if err := p.Truncate(p.size); err != nil {
		return err
	}
	if _, err := p.Seek(p.size, io.SeekStart); err != nil {
		return err
	}
	p.version = object.Version
	return writeJSON(e.file(".part.json"), p.version)
}

// reading marks errors of the source, which is worth another try, unlike those of the disk.
type reading struct{ io.Reader }

func (r reading) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}

// openFile opens an archive on this machine, always from its start.
func openFile(_ context.Context, u *url.URL, _ Object, known string, _ Options) (Object, io.ReadCloser, error) {
	f, err := os.Open(u.Path)
	if err != nil {
		return Object{}, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return Object{}, nil, errors.Join(err, f.Close())
	}
	version := fmt.Sprintf("%d bytes of %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
	return Object{Size: info.Size(), Version: version, Unchanged: version == known}, f, nil
}

// openHTTP asks a server for an archive, from where the part ends if it is still the same.
func openHTTP(ctx context.Context, u *url.URL, have Object, known string, o Options) (Object, io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Object{}, nil, err
	}
	switch {
	case have.From > 0 && have.Version != "":
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have.From))
		req.Header.Set("If-Range", have.Version)
	case strings.HasPrefix(known, `"`):
		req.Header.Set("If-None-Match", known)
	case known != "":
		req.Header.Set("If-Modified-Since", known)
	}
	resp, err := o.Client.Do(req)
	if err != nil {
		return Object{}, nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	object := Object{Size: resp.ContentLength, Version: resp.Header.Get("ETag")}
	if !strings.HasPrefix(object.Version, `"`) { // a weak one says that two are alike, not that their bytes are the same
		object.Version = resp.Header.Get("Last-Modified")
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return object, resp.Body, nil
	case resp.StatusCode == http.StatusNotModified:
		object.Unchanged = true
		return object, resp.Body, nil
	case resp.StatusCode == http.StatusPartialContent:
		object.From, object.Size, err = contentRange(resp.Header.Get("Content-Range"), have.From)
		object.Version = have.Version
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && resp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", have.From):
		// The part is the whole: what fetched it came to its end before it was used.
		return Object{Size: have.From, Version: have.Version, From: have.From}, http.NoBody, resp.Body.Close()
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= http.StatusInternalServerError:
		err = fmt.Errorf("%w: the server answered %s", errBroken, resp.Status)
	default:
		err = fmt.Errorf("fetch: the server answered %s", resp.Status)
	}
	if err != nil {
		return Object{}, nil, errors.Join(err, resp.Body.Close())
	}
	return object, resp.Body, nil
}

// contentRange reads "bytes FROM-TO/SIZE".
func contentRange(header string, from int64) (int64, int64, error) {
	rest, ok := strings.CutPrefix(header, fmt.Sprintf("bytes %d-", from))
	_, size, slash := strings.Cut(rest, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if !ok || !slash || err != nil && size != "*" {
		return 0, 0, fmt.Errorf("fetch: the server answered with %q, expected what follows byte %d", header, from)
	}
	if size == "*" {
		n = -1
	}
	return from, n, nil
}

// openBucket has weir-fetch read an archive in a bucket.
func openBucket(ctx context.Context, u *url.URL, have Object, known string, o Options) (Object, io.ReadCloser, error) {
	program, err := fetchProgram(o.Program)
	if err != nil {
		return Object{}, nil, err
	}
	p := &bucketProgram{cmd: exec.CommandContext(ctx, program, "--from", strconv.FormatInt(have.From, 10), "--version", have.Version, "--known", known, u.String())}
	p.cmd.Stderr = &p.says
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return Object{}, nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return Object{}, nil, fmt.Errorf("%s: %w", program, err)
	}
	p.out = bufio.NewReader(out)
	line, err := p.out.ReadBytes('\n')
	var object Object
	if err == nil {
		err = json.Unmarshal(line, &object)
	}
	if err != nil {
		return Object{}, nil, cmp.Or(p.end(), err)
	}
	return object, p, nil
}

// fetchProgram finds weir-fetch.
func fetchProgram(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	const name = "weir-fetch"
	if self, err := os.Executable(); err == nil {
		for _, dir := range []string{filepath.Dir(self), filepath.Dir(filepath.Dir(self))} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
				return filepath.Join(dir, name), nil
			}
		}
	}
	program, err := exec.LookPath(name)
	if err != nil {
		return "", errors.New("the program weir-fetch, which reads buckets, is missing: make build")
	}
	return program, nil
}

// bucketProgram is a running weir-fetch: its end is a reader's.
type bucketProgram struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	says strings.Builder
	done bool
}

func (p *bucketProgram) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if errors.Is(err, io.EOF) {
		if failed := p.end(); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// end waits for the program and returns what it said if it failed.
func (p *bucketProgram) end() error {
	if p.done {
		return nil
	}
	p.done = true
	err := p.cmd.Wait()
	if err == nil {
		return nil
	}
	kind := errBroken
	if p.cmd.ProcessState.ExitCode() == ExitRefused {
		kind = errors.New("fetch")
	}
	return fmt.Errorf("%w: %s", kind, cmp.Or(strings.TrimSpace(p.says.String()), err.Error()))
}

// Close ends the program if it has not ended.
func (p *bucketProgram) Close() error {
	if !p.done {
		p.done = true
		// Nobody wants the rest: how it ends is of no interest.
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	return nil
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
