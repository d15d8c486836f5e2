package loadtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// lines returns a function that sends a request that was put together once, over a connection of its own caller, and reads
// the answer; anything but 200 is an error. It is for large bodies: an http.Client copies each through a buffer and has two
// goroutines a connection, which takes processor time from what is measured.
func lines(b *testing.B, url string, header http.Header, body []byte) func() error {
	b.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header = header
	var message bytes.Buffer
	if err := req.Write(&message); err != nil {
		b.Fatal(err)
	}
	type line struct {
		net.Conn
		in *bufio.Reader
	}
	idle := make(chan line, 64)
	b.Cleanup(func() {
		for len(idle) > 0 {
			(<-idle).Close()
		}
	})
	return func() error {
		var l line
		select {
		case l = <-idle:
		default:
			var err error
			if l.Conn, err = net.Dial("tcp", req.URL.Host); err != nil {
				return err
			}
			l.in = bufio.NewReader(l.Conn)
		}
		if _, err := l.Write(message.Bytes()); err != nil {
			return err
		}
		resp, err := http.ReadResponse(l.in, req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.200s", resp.Status, answer)
		}
		idle <- l
		return err
	}
}
