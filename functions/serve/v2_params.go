package serve

import "weir.dev/weir/internal/triton"

// Parameters of Triton's.
const (
	// paramClassification of an output asks for that many classes in its place.
	paramClassification = "classification"
	// paramSharedMemory is not supported, and would change the meaning of a request.
	paramSharedMemory = "shared_memory_region"
)

func noSharedMemory(at string) error { return badRequest("%s: %s", at, triton.NoSharedMemory) }

func badClasses(at string) error {
	return badRequest("%s: expected how many classes, a whole number from 1", at)
}

// params are the parameters that weir knows, of a request, an input or an output. Others are ignored, as the protocol
// leaves them to the server.
type params struct {
	// signature is weir's own: the SavedModel's signature that is meant.
	signature    string
	binaryOutput bool
	// binary is an output's binary_data; nil if it is not given.
	binary *bool
	// size is an input's binary_data_size; -1 if it is not given.
	size int64
	// classes is an output's classification; 0 if it is not given.
	classes int64
	// contentType is base64 for strings that are encoded so, as MLServer's clients send images.
	contentType string
}

func (s *scanner) params(where string) (params, error) {
	p := params{size: -1}
	if s.null() {
		return p, nil
	}
	if s.peek() != '{' {
		return p, badRequest("%s: expected an object, got %s", where, s.what())
	}
	has := make(map[string]bool)
	err := s.object(func(key string) error {
		if err := once(has, key, where); err != nil {
			return err
		}
		if s.null() {
			return nil
		}
		at := where + "." + key
		var err error
		switch key {
		case "signature_name":
			p.signature, err = s.text(at)
		case "content_type":
			p.contentType, err = s.text(at)
		case "binary_data_output":
			p.binaryOutput, err = s.boolean(at)
		case "binary_data":
			var v bool
			v, err = s.boolean(at)
			p.binary = &v
		case "binary_data_size":
			p.size, err = s.size(at)
		case paramClassification:
			if p.classes, err = s.size(at); err != nil || p.classes < 1 {
				return badClasses(at)
			}
		case paramSharedMemory:
			return noSharedMemory(at)
		default:
			err = s.skip()
		}
		return err
	})
	return p, err
}

func (s *scanner) boolean(where string) (bool, error) {
	if s.literal("true") {
		return true, nil
	}
	if s.literal("false") {
		return false, nil
	}
	return false, badRequest("%s: expected true or false, got %s", where, s.what())
}

func (s *scanner) size(where string) (int64, error) {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return 0, badRequest("%s: expected a number of bytes, got %s", where, s.what())
	}
	n, err := s.number()
	if err != nil {
		return 0, err
	}
	v, ok := n.int(s.b, 64)
	if !ok || v < 0 {
		return 0, badRequest("%s: %s is no number of bytes", where, s.b[n.start:n.end])
	}
	return v, nil
}
