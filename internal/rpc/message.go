package rpc

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/internal/server"
)

// Prefix is how many bytes stand before a message: whether it is compressed, and its length.
const Prefix = 5

// Gzip and Deflate are how messages may be compressed. What gRPC calls deflate is zlib's format, as in HTTP.
const (
	Gzip    = "gzip"
	Deflate = "deflate"
	// accepted is what the header of an answer says of them.
	accepted = Gzip + "," + Deflate
)

// reserve bounds what a length alone makes the server set aside.
const reserve = 4 << 20

// Messages is what the body of a call may be: one that knows its messages, decompressed and within the limit.
type Messages interface {
	// Next returns the next message, which is the caller's; io.EOF after the last one.
	Next() ([]byte, error)
}

// Reader reads the messages of a call.
type Reader struct {
	in       io.Reader
	limit    int64
	encoding string
	whole    bool
}

// NewReader reads the messages of the call r from its body, none over limit bytes, before and after decompression. It
// refuses what is no call.
func NewReader(r *http.Request, limit int64) (*Reader, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	encoding := r.Header.Get(headerEncoding)
	if encoding != "" && encoding != "identity" && !compresses(encoding) {
		return nil, &server.Error{Status: http.StatusNotImplemented, Message: fmt.Sprintf("grpc-encoding %q is not supported: expected gzip, deflate or identity", encoding)}
	}
	return &Reader{in: r.Body, limit: limit, encoding: encoding, whole: isWhole(r)}, nil
}

func compresses(encoding string) bool { return encoding == Gzip || encoding == Deflate }

// Head reads the prefix of the next message and returns it with the message's length and whether it is compressed. At
// the end of the call it returns io.EOF.
func (r *Reader) Head() (head [Prefix]byte, length int64, compressed bool, err error) {
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = Malformed("a message's prefix is cut short")
		}
		return head, 0, false, err
	}
	length = int64(binary.BigEndian.Uint32(head[1:]))
	switch {
	case head[0] > 1:
		return head, 0, false, Malformed(fmt.Sprintf("a message's first byte is %d, expected 0 or 1", head[0]))
	case head[0] == 1 && !compresses(r.encoding):
		return head, 0, false, Malformed("a message is compressed, but the call has no grpc-encoding")
	case length > r.limit:
		return head, 0, false, &http.MaxBytesError{Limit: r.limit}
	}
	return head, length, head[0] == 1, nil
}

// Next reads the next message, decompressed; io.EOF after the last one.
func (r *Reader) Next() ([]byte, error) {
	if r.whole {
		return nil, Malformed("only a unary call comes in one piece")
	}
	return r.next()
}

func (r *Reader) next() ([]byte, error) {
	if m, ok := r.in.(Messages); ok {
		return m.Next()
	}
	_, length, compressed, err := r.Head()
	if err != nil {
		return nil, err
	}
	message, err := r.body(length)
	if err != nil || !compressed {
		return message, err
	}
	return r.decompress(message)
}

// Start is the beginning of a call that was looked at.
type Start struct {
	// Body gives all of the call, as it came.
	Body io.ReadCloser
	// All is all of the call if it was short; nil otherwise.
	All []byte
}

// Peek shows the beginning of the first message to look, which says whether it has seen enough: what there is of the
// message, decompressed, and whether that is all of it. A message in which look never sees enough is read to its end. A call
// that is one message is read whole if that takes no more than short bytes; a stream, whose client may wait for an answer
// before it goes on, wants 0.
func (r *Reader) Peek(body io.ReadCloser, short int64, look func(message []byte, whole bool) (enough bool, err error)) (Start, error) {
	head, length, compressed, err := r.Head()
	if errors.Is(err, io.EOF) {
		return Start{}, ErrNoMessage
	}
	if err != nil {
		return Start{}, err
	}
	if length+Prefix <= short {
		return r.peekAll(body, head, length, look)
	}
	seen := bytes.NewBuffer(append(make([]byte, 0, min(length, firstLook)+Prefix), head[:]...))
	for next := min(length, firstLook); ; next = min(length-int64(seen.Len())+Prefix, 4*next) {
		if compressed {
			next = length
		}
		if _, err := io.CopyN(seen, r.in, next); err != nil {
			return Start{}, cutShort(err)
		}
		message := seen.Bytes()[Prefix:]
		complete := int64(len(message)) == length
		if compressed {
			if message, err = r.decompress(message); err != nil {
				return Start{}, err
			}
		}
		enough, err := look(message, complete)
		if err != nil {
			return Start{}, err
		}
		if enough || complete {
			return Start{Body: again{io.MultiReader(seen, body), body}}, nil
		}
	}
}

// firstLook is how much of a message is read before the first look at it.
const firstLook = 4 << 10

// peekAll is Peek of a short message.
func (r *Reader) peekAll(body io.ReadCloser, head [Prefix]byte, length int64, look func(message []byte, whole bool) (bool, error)) (Start, error) {
	call := make([]byte, Prefix+length+1) // one more to see the end
	copy(call, head[:])
	if _, err := io.ReadFull(r.in, call[Prefix:Prefix+length]); err != nil {
		return Start{}, cutShort(err)
	}
	message := call[Prefix : Prefix+length]
	var err error
	if head[0] == 1 {
		if message, err = r.decompress(message); err != nil {
			return Start{}, err
		}
	}
	if _, err := look(message, true); err != nil {
		return Start{}, err
	}
	switch _, err := io.ReadFull(r.in, call[Prefix+length:]); {
	case err == nil:
		// What follows is for the function to refuse.
		return Start{Body: again{io.MultiReader(bytes.NewReader(call), body), body}}, nil
	case !errors.Is(err, io.EOF):
		return Start{}, err
	}
	call = call[:Prefix+length]
	return Start{Body: again{bytes.NewReader(call), body}, All: call}, nil
}

type again struct {
	io.Reader
	io.Closer
}

func (r *Reader) body(length int64) ([]byte, error) {
	var b bytes.Buffer
	if length <= reserve {
		// The usual case: one piece of memory of the right size.
		message := make([]byte, length)
		_, err := io.ReadFull(r.in, message)
		return message, cutShort(err)
	}
	b.Grow(reserve)
	if _, err := io.CopyN(&b, r.in, length); err != nil {
		return nil, cutShort(err)
	}
	return b.Bytes(), nil
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Malformed("a message is shorter than its prefix says")
	}
	return err
}

// Single reads the only message of a unary call.
func (r *Reader) Single() ([]byte, error) {
	message, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil, ErrNoMessage
	}
	if err != nil {
		return nil, err
	}
	var more [1]byte
	if n, err := io.ReadFull(r.in, more[:]); n > 0 {
		return nil, Malformed("the call has more than one message")
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return message, nil
}

// decompress undoes the call's compression, up to the limit.
func (r *Reader) decompress(message []byte) ([]byte, error) {
	var out io.Reader
	var err error
	if r.encoding == Deflate {
		out, err = zlib.NewReader(bytes.NewReader(message))
	} else {
		out, err = gzip.NewReader(bytes.NewReader(message))
	}
	var all []byte
	if err == nil {
		all, err = io.ReadAll(io.LimitReader(out, r.limit+1))
	}
	if err != nil {
		return nil, Malformed("a message is no valid " + r.encoding + ": " + err.Error())
	}
	if int64(len(all)) > r.limit {
		return nil, &http.MaxBytesError{Limit: r.limit}
	}
	return all, nil
}

// Malformed is the error of what is no call as gRPC has it.
func Malformed(message string) error {
	return &server.Error{Status: http.StatusBadRequest, Message: "malformed gRPC call: " + message}
}

// ErrNoMessage says that a call ended before its first message, which only a stream may.
var ErrNoMessage = Malformed("the call has no message")

// Writer writes the answer of a call.
type Writer struct {
	w        http.ResponseWriter
	compress bool
	whole    bool
	begun    bool
}

// NewWriter answers the call r: compressed if the call was and its client takes gzip.
func NewWriter(w http.ResponseWriter, r *http.Request) *Writer {
	return &Writer{w: w, whole: isWhole(r), compress: compresses(r.Header.Get(headerEncoding)) && strings.Contains(r.Header.Get(headerAccept), Gzip)}
}

// Send writes one message. A client that is gone is nobody's error.
func (w *Writer) Send(m proto.Message) error {
	framed, err := w.frame(m)
	if err != nil {
		return err
	}
	w.begin()
	_, _ = w.w.Write(framed)
	return nil
}

// finish writes the only message of an answer and ends the call well.
func (w *Writer) finish(m proto.Message) error {
	framed, err := w.frame(m)
	if err != nil {
		return err
	}
	if w.whole {
		h := w.w.Header()
		setStatus(h, nil)
		h.Set("Content-Length", strconv.Itoa(len(framed)))
	}
	w.begin()
	_, _ = w.w.Write(framed)
	w.Close()
	return nil
}

// frame encodes a message and puts its prefix before it.
func (w *Writer) frame(m proto.Message) ([]byte, error) {
	framed, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, Prefix, Prefix+proto.Size(m)), m)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", m, err)
	}
	if w.compress {
		var b bytes.Buffer
		b.Write([]byte{1, 0, 0, 0, 0})
		z := gzip.NewWriter(&b)
		if _, err := z.Write(framed[Prefix:]); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		framed = b.Bytes()
	}
	binary.BigEndian.PutUint32(framed[1:], uint32(len(framed)-Prefix))
	return framed, nil
}

// Answer answers a unary call: in is the request's message, which it reads into req.
func Answer(w http.ResponseWriter, r *http.Request, in []byte, req proto.Message, call func() (proto.Message, error)) error {
	if err := Unmarshal(in, req); err != nil {
		return err
	}
	answer, err := call()
	if err != nil {
		return err
	}
	return NewWriter(w, r).finish(answer)
}

// Unmarshal reads a message.
func Unmarshal(in []byte, into proto.Message) error {
	if err := proto.Unmarshal(in, into); err != nil {
		return &server.Error{Status: http.StatusBadRequest, Message: "the message is no " + string(into.ProtoReflect().Descriptor().FullName()), Err: err}
	}
	return nil
}

// Flush sends what was written, for streams.
func (w *Writer) Flush() error {
	w.begin()
	return http.NewResponseController(w.w).Flush()
}

// Close ends a call well.
func (w *Writer) Close() {
	w.begin()
	setStatus(w.w.Header(), nil)
}

func (w *Writer) begin() {
	if w.begun {
		return
	}
	w.begun = true
	h := w.w.Header()
	h.Set("Content-Type", ContentType)
	if !w.whole {
		h.Set("Trailer", TrailerStatus+", "+TrailerMessage)
	}
	if w.compress {
		h.Set(headerEncoding, Gzip)
	}
	h.Set(headerAccept, accepted)
	w.w.WriteHeader(http.StatusOK)
}
