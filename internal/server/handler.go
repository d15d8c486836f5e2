package server

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
)

// HeaderRequestID carries a request's id; a client's own is kept if it is short and printable.
const HeaderRequestID = "X-Request-Id"

// HandlerFunc is an HTTP handler that returns its error instead of writing it.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Options of an adapter. The zero value works.
type Options struct {
	// Log gets one line a request, but see Unlogged. Lines of health checks are at debug level. If nil, nothing is logged.
	Log *zerolog.Logger
	// Translate turns an error into its answer. If nil, the function Translate.
	Translate func(error) *Error
	// WriteError answers in the way of a protocol. If nil, the function WriteError.
	WriteError func(w http.ResponseWriter, r *http.Request, e *Error)
	// EndError ends an answer that had begun in the way of a protocol, if it returns true. If nil or false, the connection
	// is broken, or the stream: that alone tells the client that its answer is not whole.
	EndError func(w http.ResponseWriter, r *http.Request, e *Error) bool
	// Observe is told of every finished request. If nil, nobody is.
	Observe func(r *http.Request, status int, took time.Duration)
	// Unlogged says that a finished request gets no access line, as there are many like it and something else counts them. If
	// nil, every request gets one.
	Unlogged func(r *http.Request, answer *Error) bool
	// Fields adds to the access line. If nil, nothing is added.
	Fields func(r *http.Request, line *zerolog.Event)
}

// Adapt makes an http.Handler of h: it gives the request an id, turns an error or a panic into one answer, and writes
// one access line.
func Adapt(h HandlerFunc, o Options) http.Handler {
	if o.Translate == nil {
		o.Translate = Translate
	}
	if o.WriteError == nil {
		o.WriteError = func(w http.ResponseWriter, _ *http.Request, e *Error) { WriteError(w, e) }
	}
	if o.Log == nil {
		nop := zerolog.Nop()
		o.Log = &nop
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := requestID(r)
		w.Header().Set(HeaderRequestID, id)
		rec := &recorder{ResponseWriter: w, expects: r.ProtoMajor == 1 && r.Header.Get("Expect") != ""}
		err := call(h, rec, r)
		status := rec.status
		begun := status != 0
		var answer *Error
		if err != nil {
			answer = o.Translate(err)
			status = answer.Status
			if !begun {
				o.WriteError(rec, r, answer)
			}
		}
		if status == 0 {
			status = http.StatusOK
		}
		took := time.Since(start)
		if o.Observe != nil {
			o.Observe(r, status, took)
		}
		if o.Unlogged == nil || !o.Unlogged(r, answer) {
			o.log(r, answer, id, status, rec.bytes, took)
		}
		if err != nil && begun && rec.status != status && (o.EndError == nil || !o.EndError(rec, r, answer)) {
			panic(http.ErrAbortHandler)
		}
	})
}

// log writes the access line.
func (o *Options) log(r *http.Request, answer *Error, id string, status int, bytes int64, took time.Duration) {
	line := o.Log.WithLevel(level(r, status)).Str("request", id)
	if answer != nil {
		line = line.Err(answer)
	}
	if o.Fields != nil {
		o.Fields(r, line)
	}
	line.Str("method", r.Method).Str("path", r.URL.Path).Int("status", status).
		Int64("bytes", bytes).Dur("ms", took).Msg("request")
}

func call(h HandlerFunc, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(w, r)
}

func level(r *http.Request, status int) zerolog.Level {
	switch {
	case r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics":
		// Not ready yet is no error: probes ask for it many times a second while a model loads.
		return zerolog.DebugLevel
	case status >= 500:
		return zerolog.ErrorLevel
	}
	return zerolog.InfoLevel
}

func requestID(r *http.Request) string {
	id := r.Header.Get(HeaderRequestID)
	ok := len(id) > 0 && len(id) <= 128
	for i := 0; ok && i < len(id); i++ {
		ok = id[i] > ' ' && id[i] < 0x7f
	}
	if !ok {
		id = rand.Text()
		r.Header.Set(HeaderRequestID, id)
	}
	return id
}

// recorder remembers the status and counts the bytes of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	// expects says that net/http writes a 100 when the body is read, which another goroutine than the handler's may do.
	expects bool
}

func (r *recorder) WriteHeader(status int) {
	if r.expects && status > http.StatusSwitchingProtocols && status < 200 {
		return // It only hints at the answer, and net/http would write it into its 100.
	}
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
