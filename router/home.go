package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

// maxFetchRequest bounds the body of POST /home/fetch in bytes.
const maxFetchRequest = 16 << 10

// fetchRequestTime bounds the time for that body.
const fetchRequestTime = 10 * time.Second

// fetchImage answers the image at a URL, for the front end: a page may not read other sites itself. Only the router's own
// pages may ask, so that no other site can use a visitor's router; a client that is no browser sends no origin and may.
func (rt *Router) fetchImage(w http.ResponseWriter, r *http.Request) error {
	if err := rt.origin.Check(r); err != nil {
		return &server.Error{Status: http.StatusForbidden, Message: "only weir's own pages may fetch", Err: err}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &server.Error{Status: http.StatusUnsupportedMediaType, Message: `expected Content-Type application/json and {"url": "https://…"}`}
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(fetchRequestTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFetchRequest))
	if err != nil {
		return bodyError(r.Context(), err)
	}
	// Left in place it would look like a client that left.
	_ = rc.SetReadDeadline(time.Time{})
	var ask struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(body, &ask); err != nil || ask.URL == "" {
		return &server.Error{Status: http.StatusBadRequest, Message: `expected {"url": "https://…"}`, Err: errors.Join(err)}
	}
	select {
	case rt.fetches <- struct{}{}:
		defer func() { <-rt.fetches }()
	default:
		return &server.Error{Status: http.StatusServiceUnavailable, Message: "too many images are being fetched: try again", RetryAfter: knative.RetryAfter}
	}
	data, contentType, err := rt.fetcher.Image(r.Context(), ask.URL)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
