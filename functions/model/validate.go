package model

import (
	"maps"
	"slices"
	"strings"
)

// Resolve finds the signature that a request names and checks the request's tensors against it: names, element types,
// ranks and every known dimension. A tensor of the wrong rank would abort the process inside TensorFlow, so no runtime
// may be reached without this.
func (m Metadata) Resolve(req Request) (Signature, error) {
	name := req.Signature
	if name == "" {
		name = DefaultSignature
	}
	sig, ok := m.Signatures[name]
	if !ok {
		return Signature{}, Errorf(NotFound, "model %q has no signature %q: it has %s", m.Name, name, quoted(slices.Sorted(maps.Keys(m.Signatures))))
	}
	for _, in := range sig.Inputs {
		t, ok := req.Inputs[in.Name]
		if !ok {
			return sig, Errorf(InvalidArgument, "missing input %q: signature %q takes %s", in.Name, name, describe(sig.Inputs))
		}
		if err := in.Accepts(t); err != nil {
			return sig, err
		}
	}
	for in := range req.Inputs {
		if _, ok := sig.Input(in); !ok {
			return sig, Errorf(InvalidArgument, "unknown input %q: signature %q takes %s", in, name, describe(sig.Inputs))
		}
	}
	for _, out := range req.Outputs {
		if _, ok := sig.Output(out); !ok {
			return sig, Errorf(InvalidArgument, "unknown output %q: signature %q gives %s", out, name, describe(sig.Outputs))
		}
	}
	return sig, nil
}

// Accepts reports why a tensor cannot be given where s is wanted; nil if it can.
func (s TensorSpec) Accepts(t Tensor) error {
	if t.DType != s.DType {
		return Errorf(InvalidArgument, "input %q is %v, expected %v", s.Name, t.DType, s.DType)
	}
	if err := t.Check(); err != nil {
		return Errorf(InvalidArgument, "input %q: %v", s.Name, err)
	}
	if s.AnyRank {
		return nil
	}
	fits := len(t.Shape) == len(s.Shape)
	for i := 0; fits && i < len(s.Shape); i++ {
		fits = s.Shape[i] == -1 || s.Shape[i] == t.Shape[i]
	}
	if !fits {
		return Errorf(InvalidArgument, "input %q has shape %v, expected %v (-1 is any size)", s.Name, t.Shape, s.Shape)
	}
	return nil
}

func describe(specs []TensorSpec) string {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	return quoted(names)
}

func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }
