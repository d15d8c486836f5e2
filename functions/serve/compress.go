package serve

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// compressFrom is the smallest answer that is compressed. Many clients ask for it without a thought (Python's requests, all
// browsers), so it has to pay: JSON numbers shrink to 43 % at about 130 MB/s (BenchmarkCompress), which a link of 1 Gbit/s
// is as fast as, and what fits the first packets of a connection comes no sooner when it is less. From here on half a
// millisecond saves three at 100 Mbit/s.
const compressFrom = 64 << 10

// packer is a writer that compresses, to be used again: a new one takes more memory and time than most answers.
type packer interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// packers are those that nobody uses, by encoding. The levels and types are right, so that making them does not fail.
var packers = map[string]*sync.Pool{
	"gzip":    {New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return packer(z) }},
	"deflate": {New: func() any { z, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed); return packer(z) }},
}

// compressor compresses an answer whose length is told and that is large enough, if the client takes that. Binary tensors
// stay as they are: weights of a network look like noise, and who sends them so wants them fast.
type compressor struct {
	http.ResponseWriter
	encoding string
	begun    bool
	z        packer
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
			c.z.Reset(nil)
			packers[encoding].Put(c.z)
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
	if status != http.StatusOK || err != nil || length < compressFrom || h.Get("Content-Encoding") != "" || h.Get("Content-Type") == contentBinary {
		return
	}
	h.Del("Content-Length")
	h.Set("Content-Encoding", c.encoding)
	c.z, _ = packers[c.encoding].Get().(packer)
	c.z.Reset(c.ResponseWriter)
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
