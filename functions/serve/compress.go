package serve

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// compressFrom is the smallest answer that is worth compressing: what does not fit into one packet.
const compressFrom = 1400

// compressor compresses an answer whose length is told and that is large enough, if the client takes that.
type compressor struct {
	http.ResponseWriter
	encoding string
	begun    bool
	z        io.WriteCloser
}

// compressed returns w, or a writer that compresses and has to be closed.
func compressed(w http.ResponseWriter, r *http.Request) (out http.ResponseWriter, done func()) {
	encoding := acceptedEncoding(r.Header.Get("Accept-Encoding"))
	if encoding == "" {
		return w, func() {}
	}
	c := &compressor{ResponseWriter: w, encoding: encoding}
	return c, func() {
		if c.z != nil {
			_ = c.z.Close() // a client that is gone is nobody's error
		}
	}
}

// acceptedEncoding is gzip or deflate if an Accept-Encoding names it without weight 0, the first one of the two.
func acceptedEncoding(accept string) string {
	for part := range strings.SplitSeq(accept, ",") {
		name, param, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q, weighted := strings.CutPrefix(strings.TrimSpace(param), "q=")
		if weight, err := strconv.ParseFloat(q, 64); weighted && (err != nil || weight == 0) {
			continue
		}
		if name == "gzip" || name == "deflate" {
			return name
		}
	}
	return ""
}

// WriteHeader implements http.ResponseWriter.
func (c *compressor) WriteHeader(status int) {
	if !c.begun {
		c.begun = true
		c.begin(status)
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *compressor) begin(status int) {
	h := c.Header()
	h.Add("Vary", "Accept-Encoding")
	length, err := strconv.Atoi(h.Get("Content-Length"))
	if status != http.StatusOK || err != nil || length < compressFrom || h.Get("Content-Encoding") != "" {
		return
	}
	h.Del("Content-Length")
	h.Set("Content-Encoding", c.encoding)
	// The levels and types of these are right, so that they do not fail.
	if c.encoding == "gzip" {
		c.z, _ = gzip.NewWriterLevel(c.ResponseWriter, gzip.BestSpeed)
	} else {
		c.z, _ = zlib.NewWriterLevel(c.ResponseWriter, zlib.BestSpeed)
	}
}

// Write implements http.ResponseWriter.
func (c *compressor) Write(p []byte) (int, error) {
	if !c.begun {
		c.WriteHeader(http.StatusOK)
	}
	if c.z != nil {
		return c.z.Write(p)
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *compressor) Unwrap() http.ResponseWriter { return c.ResponseWriter }
