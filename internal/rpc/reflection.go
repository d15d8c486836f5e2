package rpc

import (
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
)

// Reflection tells clients such as grpcurl which services there are. It is the only part of gRPC that grpc-go's own
// server answers.
type Reflection struct{ server *grpc.Server }

// NewReflection tells of the named services, whose descriptors are registered, as they are by generated code.
func NewReflection(services ...string) *Reflection {
	s := grpc.NewServer()
	reflection.Register(listing{s, services})
	return &Reflection{s}
}

// listing says that a server has services which it does not serve itself.
type listing struct {
	*grpc.Server
	services []string
}

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (l listing) GetServiceInfo() map[string]grpc.ServiceInfo {
	info := l.Server.GetServiceInfo()
	for _, name := range l.services {
		info[name] = grpc.ServiceInfo{}
	}
	return info
}

// Serves says whether a path is one of reflection's methods.
func (*Reflection) Serves(path string) bool { return strings.HasPrefix(path, "/grpc.reflection.") }

// ServeHTTP answers a call of reflection.
func (r *Reflection) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.server.ServeHTTP(flusher{w}, req)
}

// flusher shows grpc-go the Flush that a wrapped writer has.
type flusher struct{ http.ResponseWriter }

// Flush implements http.Flusher.
func (f flusher) Flush() { _ = http.NewResponseController(f.ResponseWriter).Flush() }
