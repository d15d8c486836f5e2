package web

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"weir.dev/weir/internal/server"
)

// policy is the pages' Content-Security-Policy: nothing from another site, no inline script or style.
const policy = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// The Cache-Control of files: those under the assets' version never change, the others are asked for again by ETag.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheAnHour  = "public, max-age=3600"
	cacheAsk     = "no-cache"
)

// samplesList is the file that lists the sample pictures.
const samplesList = "samples.json"

type handler struct {
	pages   map[string]file // by path
	assets  map[string]file
	samples map[string]file
	version string
}

// pageFiles are the pages' files by path.
var pageFiles = map[string]string{"/home": "index.html", "/openapi": "openapi.html"}

// newHandler reads pages (those of pageFiles and assets/) and samples (pictures and samples.json, which may be missing).
func newHandler(pages, samples fs.FS) (http.Handler, error) {
	sub, err := fs.Sub(pages, "assets")
	if err != nil {
		return nil, fmt.Errorf("assets: %w", err)
	}
	h := &handler{pages: map[string]file{}}
	if h.assets, err = readFiles(sub); err != nil {
		return nil, err
	}
	if h.samples, err = readFiles(samples); err != nil {
		return nil, err
	}
	if _, ok := h.samples[samplesList]; !ok {
		h.samples[samplesList] = newFile(samplesList, []byte("[]\n"))
	}
	// The page names its assets under their version, and they name each other relatively: a browser keeps them for
	// ever and yet never mixes those of two builds.
	h.version = version(h.assets)
	for path, name := range pageFiles {
		page, err := fs.ReadFile(pages, name)
		if err != nil {
			return nil, fmt.Errorf("page: %w", err)
		}
		h.pages[path] = newFile(name, bytes.ReplaceAll(page, []byte("/home/assets/"), []byte("/home/assets/"+h.version+"/")))
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	f, cacheControl, ok := h.find(r.URL.Path)
	switch {
	case r.URL.Path == "/home/":
		http.Redirect(w, r, "/home", http.StatusPermanentRedirect)
	case !ok:
		server.WriteError(w, &server.Error{Status: http.StatusNotFound, Message: "no such page: the front end is at /home"})
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD")
		server.WriteError(w, &server.Error{Status: http.StatusMethodNotAllowed, Message: "method " + r.Method + " is not allowed: expected GET or HEAD"})
	default:
		f.serve(w, r, cacheControl)
	}
}

// find returns the file that a path means and how long it may be kept.
func (h *handler) find(path string) (f file, cacheControl string, ok bool) {
	if page, ok := h.pages[path]; ok {
		return page, cacheAsk, true
	}
	if name, under := strings.CutPrefix(path, "/home/samples/"); under {
		f, ok = h.samples[name]
		if name == samplesList {
			return f, cacheAsk, ok
		}
		return f, cacheAnHour, ok
	}
	if name, under := strings.CutPrefix(path, "/home/assets/"); under {
		cacheControl = cacheAsk
		if rest, current := strings.CutPrefix(name, h.version+"/"); current {
			name, cacheControl = rest, cacheForever
		}
		f, ok = h.assets[name]
		return f, cacheControl, ok
	}
	return file{}, "", false
}
