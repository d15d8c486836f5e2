package serve

import (
	"net/http"

	"weir.dev/weir/internal/server"
)

// eventMode is how a CloudEvent lies in an HTTP message.
type eventMode struct {
	structured bool
}

func (s *Server) writeErrorEvent(w http.ResponseWriter, _ *http.Request, e *server.Error) {
	server.WriteError(w, e)
}
