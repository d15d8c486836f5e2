package rpc

import (
	"maps"
	"net/http"
)

// A call in one piece is how weir's own servers pass a short unary call on over HTTP/1.1, where it costs half of what it does
// over HTTP/2: its message is a body of known length, and so is the answer's, whose header says at once how the call ended. A
// function says in its report that it takes such calls (report.Replica). It is no gRPC: for everybody else that needs HTTP/2.
const (
	headerWhole = "X-Weir-Call"
	whole       = "whole"
)

// isWhole says whether a request is a call in one piece.
func isWhole(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.Header.Get(headerWhole) == whole
}

// CanBeWhole says whether a request is a call that can be sent in one piece: who has read all of it gave it a GetBody.
func CanBeWhole(r *http.Request) bool {
	return r.GetBody != nil && r.ContentLength > 0 && IsCall(r)
}

// Fold makes a call one in one piece. Its header is replaced by another one.
func Fold(r *http.Request) {
	r.Header = maps.Clone(r.Header)
	r.Header.Set(headerWhole, whole)
}

// Unfold makes the answer to a call in one piece what it is over HTTP/2: how the call ended stands in the trailer, or in the
// header if there is no message.
func Unfold(resp *http.Response) {
	if resp.ContentLength <= 0 {
		return
	}
	for _, name := range []string{TrailerStatus, TrailerMessage} {
		if v, ok := resp.Header[name]; ok {
			if resp.Trailer == nil {
				resp.Trailer = http.Header{}
			}
			resp.Trailer[name] = v
			delete(resp.Header, name)
		}
	}
}
