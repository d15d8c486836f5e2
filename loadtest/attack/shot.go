package attack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/knative"
)

// Shot is one request that has ended.
type Shot struct {
	Load, Stage string
	// Turn tells stages of one name apart, as scenario.Stage has it.
	Turn int
	// Due is when the request was to be sent, Sent when it was. They differ where the sender was held up; for users they
	// are the same.
	Due, Sent time.Time
	// Latency is the time from Sent to the end of the answer.
	Latency time.Duration
	// Connecting is the part of Latency until there was a connection, which is as much the sender's as the target's; Opened
	// says that it was a new one.
	Connecting time.Duration
	Opened     bool
	// Closed says that a user sent it, who would have sent the next one Think after a prompt answer.
	Closed bool
	Think  time.Duration
	// Status is 0 if there was no answer, of a gRPC call HTTP's like its own; Message says then what happened, or else what an answer that is no 2xx said.
	Status     int
	Message    string
	RetryAfter bool
	// Revision and Cold are what weir says of its answer.
	Revision string
	Cold     bool
}

// OK says that the answer was a good one.
func (s *Shot) OK() bool { return s.Status >= 200 && s.Status < 300 }

// Refused says that the request was turned away, to come back later.
func (s *Shot) Refused() bool {
	return s.Status == http.StatusServiceUnavailable || s.Status == http.StatusTooManyRequests
}

// keptBody is how much of an answer that is no 2xx is looked at.
const keptBody = 512

// address is an IP address with a port.
const address = `(?:[0-9]+(?:\.[0-9]+){3}|\[[0-9a-fA-F:.]+(?:%[^\]]+)?\]):[0-9]+`

var (
	errorText = regexp.MustCompile(`^\s*\{\s*"error"\s*:\s*("(?:[^"\\]|\\.)*")`)
	numbers   = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)
	addresses = regexp.MustCompile(address + `(->` + address + `)?`)
)

// answered fills in what the answer says.
func (s *Shot) answered(status int, h http.Header, body []byte) {
	s.Status = status
	s.Revision = h.Get(knative.HeaderRevision)
	s.Cold = h.Get(knative.HeaderColdStart) == "true"
	s.RetryAfter = h.Get("Retry-After") != "" || h.Get(rpc.TrailerPushback) != ""
	if s.OK() && strings.HasPrefix(h.Get("Content-Type"), rpc.ContentType) {
		s.ended(h)
		return
	}
	if s.OK() {
		return
	}
	s.Message = http.StatusText(status)
	if m := errorText.FindSubmatch(body[:min(len(body), keptBody)]); m != nil {
		// Without its numbers a message is the same for many requests, and counts as one.
		s.Message = numbers.ReplaceAllString(unescaped(m[1]), "N")
	}
}

// unescaped is the text of a JSON string.
func unescaped(text []byte) string {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return string(text)
	}
	return s
}

// ended fills in how a gRPC call ended. Its status is shown as HTTP's, which is what weir's own metrics show.
func (s *Shot) ended(h http.Header) {
	if s.Status = rpc.Status(h, nil); s.OK() {
		return
	}
	message, err := url.PathUnescape(h.Get(rpc.TrailerMessage))
	if err != nil {
		message = h.Get(rpc.TrailerMessage)
	}
	s.Message = "a gRPC call ended without a status"
	if code, err := strconv.ParseUint(h.Get(rpc.TrailerStatus), 10, 32); err == nil {
		s.Message = numbers.ReplaceAllString(fmt.Sprintf("%v: %s", codes.Code(code), message), "N")
	}
}

// failed says that there was no answer.
func (s *Shot) failed(message string) {
	s.Status, s.Message = 0, addresses.ReplaceAllString(message, "ADDRESS")
}

// readAnswer reads an answer to its end.
func (s *Shot) readAnswer(resp *http.Response) error {
	var kept []byte
	var err error
	if resp.StatusCode >= 300 {
		kept, err = io.ReadAll(io.LimitReader(resp.Body, keptBody))
	}
	_, rest := io.Copy(io.Discard, resp.Body)
	s.answered(resp.StatusCode, resp.Header, kept)
	return errors.Join(err, rest)
}
