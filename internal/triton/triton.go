// Package triton says what of Triton's weir has and has not, so that routers and functions say the same.
package triton

import (
	"net/http"
	"strings"

	"weir.dev/weir/internal/server"
)

// Extensions returns Triton's extensions of the Open Inference Protocol that weir has.
func Extensions() []string {
	return []string{"binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"}
}

// NoSharedMemory is why a tensor cannot lie in shared memory.
const NoSharedMemory = "shared memory is not supported, since replicas run apart from their clients: send tensors in the request"

const methods = "/inference.GRPCInferenceService/"

// Lacks says why there is nothing at this path of REST or gRPC, nil if Triton has nothing there either.
func Lacks(path string) error {
	no := func(message string) error { return &server.Error{Status: http.StatusNotImplemented, Message: message} }
	switch {
	case strings.HasPrefix(path, "/v2/systemsharedmemory/"), strings.HasPrefix(path, "/v2/cudasharedmemory/"),
		strings.HasPrefix(path, methods) && strings.Contains(path, "SharedMemory"):
		return no(NoSharedMemory)
	case path == "/v2/trace/setting", strings.HasPrefix(path, "/v2/models/") && strings.HasSuffix(path, "/trace/setting"),
		path == methods+"TraceSetting":
		return no("trace settings are not supported: send a traceparent, which goes on to the model, and look at the metrics")
	case path == "/v2/logging", path == methods+"LogSettings":
		return no("log settings cannot be changed while weir runs: --log-level sets the level")
	}
	return nil
}
