package throttle

import (
	"bytes"
	"io"
	"net/http"

	"weir.dev/weir/internal/rpc"
)

// readAheadLimit is up to how many bytes of a call's answer are read before it is passed on.
const readAheadLimit = 1 << 20

// isUnary says whether a request is a gRPC call with one message each way.
func isUnary(r *http.Request) bool { return rpc.IsCall(r) && r.URL.Path != rpc.StreamPath }

// readAhead reads the answer of a unary call, and with it the trailer: a client can do nothing with a part of a message,
// and until something was passed on, another replica can be asked. The rest of a longer answer is passed on as it comes.
// If it fails the answer is closed. (internal/hop does the same for short answers over HTTP/1.1.)
func readAhead(resp *http.Response) error {
	begun, err := io.ReadAll(io.LimitReader(resp.Body, readAheadLimit))
	if err != nil {
		_ = resp.Body.Close()
		return err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begun), resp.Body), resp.Body}
	return nil
}
