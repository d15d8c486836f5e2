package direct

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weir.dev/weir/internal/rpc"
)

// writer makes an answer of what a handler writes: messages after their prefixes, the status as a trailer or in the header.
type writer struct {
	stream grpc.ServerStream
	header http.Header
	body   *body
	begun  bool   // the header is complete
	sent   bool   // and on its way
	held   []byte // of a message that is not all there
}

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// grpcs are the headers that grpc-go sets itself, and the status.
var grpcs = map[string]bool{
	"Content-Type": true, "Content-Length": true, "Trailer": true, "Grpc-Encoding": true, rpc.TrailerStatus: true, rpc.TrailerMessage: true,
}

// WriteHeader implements http.ResponseWriter. The status of a call is in its trailer.
func (w *writer) WriteHeader(int) {
	if w.begun {
		return
	}
	w.begun = true
	header := make(metadata.MD, len(w.header))
	for name, values := range w.header {
		if !grpcs[name] && !strings.HasPrefix(name, http.TrailerPrefix) {
			header[strings.ToLower(name)] = values
		}
	}
	_ = w.stream.SetHeader(header) // fails only if the client is gone
}

var errCompressed = errors.New("direct: a message is compressed, which is for grpc-go to do")

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.held = append(w.held, p...)
	for len(w.held) >= rpc.Prefix {
		if w.held[0] != 0 {
			return 0, errCompressed
		}
		end := rpc.Prefix + int(binary.BigEndian.Uint32(w.held[1:]))
		if len(w.held) < end {
			break
		}
		w.sent = true
		// It is sent later: nothing is written there again.
		if err := w.stream.SendMsg(w.held[rpc.Prefix:end:end]); err != nil {
			return 0, err
		}
		w.held = w.held[end:]
	}
	if len(w.held) == 0 {
		w.held = nil
	}
	return len(p), nil
}

// FlushError sends the header, if no message did yet, for http.ResponseController. Messages are sent as they come.
func (w *writer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	if w.sent {
		return nil
	}
	w.sent = true
	return w.stream.SendHeader(nil)
}

// SetReadDeadline bounds reading the body, for http.ResponseController.
func (w *writer) SetReadDeadline(t time.Time) error {
	w.body.deadline = t
	return nil
}

// end ends the call as the handler said, and tells its trailers.
func (w *writer) end() error {
	trailer := metadata.MD{}
	declared := w.header.Get("Trailer")
	for name, values := range w.header {
		bare, ok := strings.CutPrefix(name, http.TrailerPrefix)
		if (ok || name == rpc.TrailerPushback || strings.Contains(declared, name)) && !grpcs[bare] {
			trailer[strings.ToLower(bare)] = values
		}
	}
	if len(trailer) > 0 {
		w.stream.SetTrailer(trailer)
	}
	get := func(name string) string {
		if v := w.header.Get(http.TrailerPrefix + name); v != "" {
			return v
		}
		return w.header.Get(name)
	}
	code, err := strconv.ParseUint(get(rpc.TrailerStatus), 10, 32)
	if err != nil || len(w.held) > 0 {
		return status.Error(codes.Internal, "the answer has no end")
	}
	message, err := url.PathUnescape(get(rpc.TrailerMessage))
	if err != nil {
		message = get(rpc.TrailerMessage)
	}
	return status.Error(codes.Code(code), message) // nil if the code is OK
}
