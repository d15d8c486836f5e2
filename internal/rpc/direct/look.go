package direct

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/encoding"

	"weir.dev/weir/internal/rpc"
)

// look reads as much of a connection as says whose it is, and returns it with what was read put back.
//
// A gRPC client sends no request before it has the server's SETTINGS, so it gets some. It takes grpc-go's own for new ones;
// net/http, which counts what it has sent, must not see the answer to them.
func look(conn net.Conn) (whose net.Conn, isCall bool, err error) {
	t := &tape{in: conn}
	if ok, err := t.preface(); err != nil || !ok {
		return &replayed{conn, t.replay()}, false, err
	}
	fr := http2.NewFramer(conn, t)
	fr.SetMaxReadFrameSize(16 << 10) // what clients keep to who were told nothing else
	fr.MaxHeaderListSize = maxHeader
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	// What HTTP/2 does not allow is for net/http to refuse.
	f, err := fr.ReadFrame()
	first, ok := f.(*http2.SettingsFrame)
	if err != nil || !ok {
		return &replayed{conn, t.replay()}, false, gone(err)
	}
	library := isLibrarys(first)
	if err := fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams}); err != nil {
		return nil, false, err
	}
	for len(t.seen) < 2*maxHeader {
		f, err := fr.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break // It may be anybody's who has time.
		}
		if err := gone(err); err != nil {
			return nil, false, err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame, *http2.PriorityFrame:
			continue
		case *http2.MetaHeadersFrame:
			if library && isClients(f) {
				return &replayed{conn, t.replay()}, true, nil
			}
		}
		break
	}
	frames := &tape{conn, t.seen[len(http2.ClientPreface):]}
	return &replayed{conn, &settled{in: frames.replay(), out: []byte(http2.ClientPreface)}}, false, nil
}

// gone is the error of a connection that is no more, or nil.
func gone(err error) error {
	if _, ok := errors.AsType[http2.ConnectionError](err); ok {
		return nil
	}
	if _, ok := errors.AsType[http2.StreamError](err); ok {
		return nil
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return nil
	}
	return err
}

// isLibrarys says whether SETTINGS are those of a gRPC library. None takes pushes: grpc-go says nothing of them, those in C and Java
// allow none at a time. What else speaks HTTP/2, and may mix, turns them off and leaves it at that, or has a limit, as proxies do that
// leave a client's user agent as it is and add no header: HAProxy.
func isLibrarys(f *http2.SettingsFrame) bool {
	if most, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
		return most == 0
	}
	_, ok := f.Value(http2.SettingEnablePush)
	return !ok
}

// isClients says whether a request is a call that came directly from a gRPC client, of the kind that grpc-go answers as net/http does.
func isClients(f *http2.MetaHeadersFrame) bool {
	call, client := false, false
	for _, field := range f.Fields {
		switch field.Name {
		case "content-type":
			call = rpc.IsContentType(field.Value)
		case "user-agent":
			client = strings.Contains(" "+field.Value, " grpc-")
		case "grpc-encoding":
			if encoding.GetCompressor(field.Value) == nil && field.Value != encoding.Identity {
				return false
			}
		case "forwarded", "via", "x-real-ip", "k-proxy-request":
			return false
		}
		for _, prefix := range []string{"x-forwarded-", "x-envoy-", "l5d-"} {
			if strings.HasPrefix(field.Name, prefix) {
				return false
			}
		}
	}
	return call && client && !f.Truncated
}

// tape reads and remembers.
type tape struct {
	in   io.Reader
	seen []byte
}

// Read implements io.Reader.
func (t *tape) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	t.seen = append(t.seen, p[:n]...)
	return n, err
}

// preface reads no more than what tells HTTP/2 from HTTP/1 and says whether it is HTTP/2.
func (t *tape) preface() (bool, error) {
	for len(t.seen) < len(http2.ClientPreface) {
		_, err := t.Read(make([]byte, len(http2.ClientPreface)-len(t.seen)))
		if string(t.seen) != http2.ClientPreface[:len(t.seen)] {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// replay reads what was read, and goes on.
func (t *tape) replay() io.Reader { return io.MultiReader(bytes.NewReader(t.seen), t.in) }

// replayed is a connection whose beginning is read again.
type replayed struct {
	net.Conn
	in io.Reader
}

// Read implements net.Conn.
func (c *replayed) Read(p []byte) (int, error) { return c.in.Read(p) }

// CloseWrite lets net/http end a connection so that its last answer arrives.
func (c *replayed) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// settled reads the frames of a client but for the first answer to SETTINGS.
type settled struct {
	in   io.Reader
	out  []byte // is given next
	left int    // of the frame after out
	done bool
	head [frameHead]byte
}

// frameHead is how long the head of a frame is (RFC 9113, section 4.1).
const frameHead = 9

// Read implements io.Reader.
func (s *settled) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.done || s.left > 0 {
			if !s.done {
				p = p[:min(len(p), s.left)]
			}
			n, err := s.in.Read(p)
			s.left -= n
			return n, err
		}
		if _, err := io.ReadFull(s.in, s.head[:]); err != nil {
			return 0, err
		}
		s.left = int(s.head[0])<<16 | int(s.head[1])<<8 | int(s.head[2])
		if s.done = s.left == 0 && http2.FrameType(s.head[3]) == http2.FrameSettings && http2.Flags(s.head[4]).Has(http2.FlagSettingsAck); !s.done {
			s.out = s.head[:]
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}
