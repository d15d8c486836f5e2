package serve

import (
	"slices"

	"weir.dev/weir/functions/model"
)

// readInputs reads the tensors of a :predict body, in row format (instances) or in column format (inputs).
func (s *Server) readInputs(e envelope, sig model.Signature) (map[string]model.Tensor, error) {
	if err := e.check(s, e.examples, e.context); err != nil {
		return nil, err
	}
	switch {
	case e.instances >= 0 && e.inputs >= 0:
		return nil, badRequest(`expected either "instances" or "inputs", got both`)
	case e.instances >= 0:
		return s.readRows(e.at(s, e.instances), sig)
	case e.inputs >= 0:
		return s.readColumns(e.at(s, e.inputs), sig)
	}
	return nil, badRequest(`expected "instances" (row format) or "inputs" (column format), got neither`)
}

// readRows reads a list of instances: objects with a value for each input, or just the values of the only input.
func (s *Server) readRows(scan *scanner, sig model.Signature) (map[string]model.Tensor, error) {
	if c := scan.peek(); c != '[' {
		return nil, scan.fail("instances: expected a list, got %s", scan.what())
	}
	r := rowReader{sig: sig, limit: s.limits.Instances}
	for _, in := range sig.Inputs {
		r.inputs = append(r.inputs, newTensorReader(scan, in, "instances"))
	}
	r.seen = make([]bool, len(sig.Inputs))
	n := 0
	err := scan.list(func(i int) error {
		n = i + 1
		return r.instance(scan, i)
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, badRequest("instances: expected at least one, got an empty list")
	}
	out := make(map[string]model.Tensor, len(r.inputs))
	for i, in := range sig.Inputs {
		out[in.Name] = r.inputs[i].rows(n)
	}
	return out, nil
}

type rowReader struct {
	sig    model.Signature
	inputs []*tensorReader
	limit  int
	// named says that the instances are objects: the first one decides.
	named bool
	// seen are the inputs of the instance that is read.
	seen []bool
}

func (r *rowReader) instance(scan *scanner, i int) error {
	if i >= r.limit {
		return tooMany(r.limit)
	}
	object := scan.peek() == '{' && !scan.isB64()
	switch {
	case i == 0:
		r.named = object
	case r.named && !object:
		return badRequest("instances[%d]: expected an object as in the instances before, got %s", i, scan.what())
	case !r.named && object:
		return badRequest("instances[%d]: expected a value or a list as in the instances before, got an object", i)
	}
	if r.named {
		return r.object(scan, i)
	}
	if len(r.inputs) != 1 {
		return badRequest("instances[%d]: expected an object with the inputs %s, got %s", i, inputNames(r.sig), scan.what())
	}
	return r.inputs[0].row(i)
}

func (r *rowReader) object(scan *scanner, i int) error {
	clear(r.seen)
	err := scan.object(func(key string) error {
		n := slices.IndexFunc(r.sig.Inputs, func(in model.TensorSpec) bool { return in.Name == key })
		switch {
		case n < 0:
			return badRequest("instances[%d]: unknown input %q: signature %q takes %s", i, key, r.sig.Name, inputNames(r.sig))
		case r.seen[n]:
			return badRequest("instances[%d]: input %q is given twice", i, key)
		}
		r.seen[n] = true
		r.inputs[n].named = key
		return r.inputs[n].row(i)
	})
	if err != nil {
		return err
	}
	for n, in := range r.sig.Inputs {
		if !r.seen[n] {
			return badRequest("instances[%d]: missing input %q: signature %q takes %s", i, in.Name, r.sig.Name, inputNames(r.sig))
		}
	}
	return nil
}

// readColumns reads an object of whole tensors, or just the only input's tensor.
func (s *Server) readColumns(scan *scanner, sig model.Signature) (map[string]model.Tensor, error) {
	out := make(map[string]model.Tensor, len(sig.Inputs))
	read := func(spec model.TensorSpec, root string) error {
		t := newTensorReader(scan, spec, root)
		if spec.Batched() {
			t.maxRows = s.limits.Instances
		}
		if err := t.value(0); err != nil {
			return err
		}
		out[spec.Name] = t.tensor()
		return nil
	}
	if scan.peek() != '{' || scan.isB64() {
		if len(sig.Inputs) != 1 {
			return nil, badRequest("inputs: expected an object with %s, got %s", inputNames(sig), scan.what())
		}
		return out, read(sig.Inputs[0], "inputs")
	}
	err := scan.object(func(key string) error {
		spec, ok := sig.Input(key)
		if !ok {
			return badRequest("inputs: unknown input %q: signature %q takes %s", key, sig.Name, inputNames(sig))
		}
		if _, ok := out[key]; ok {
			return badRequest("inputs: input %q is given twice", key)
		}
		return read(spec, "inputs."+key)
	})
	return out, err
}

func inputNames(sig model.Signature) string {
	names := make([]string, len(sig.Inputs))
	for i, in := range sig.Inputs {
		names[i] = in.Name
	}
	return orNone(names)
}
