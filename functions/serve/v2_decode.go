package serve

import (
	"slices"

	"weir.dev/weir/functions/model"
)

// inferRequest is an inference request of the Open Inference Protocol.
type inferRequest struct {
	id, signature string
	inputs        []inferInput
	outputs       []inferOutput
	// binary says that outputs are wanted as binary data, unless one says otherwise.
	binary bool
}

type inferInput struct {
	name   string
	dtype  model.DType
	shape  []int64
	tensor model.Tensor
	params params
	// data is the offset of the JSON data if it came before the datatype, -1 otherwise.
	data int
	// has are the members that were given.
	has map[string]bool
}

type inferOutput struct {
	name   string
	binary bool
	// classes says how many of its best classes are wanted in an output's place; 0 wants the output itself.
	classes int64
}

// readInfer reads the JSON of an inference request; tail is the binary data behind it.
func (s *Server) readInfer(body, tail []byte, m *memory) (inferRequest, error) {
	var r inferRequest
	scan := s.scanner(body, true)
	scan.memory, scan.nullIsNaN = m, true
	if c := scan.peek(); c != '{' {
		return r, scan.fail(`expected an object with "inputs", got %s`, scan.what())
	}
	var p params
	outputs := -1
	has := make(map[string]bool)
	err := scan.object(func(key string) error {
		if err := once(has, key, "the request"); err != nil {
			return err
		}
		var err error
		switch key {
		case "id":
			if !scan.null() {
				r.id, err = scan.text("id")
			}
		case "parameters":
			p, err = scan.params("parameters")
		case "inputs":
			err = r.readInputs(scan)
		case "outputs":
			if !scan.null() {
				outputs = scan.i
				err = scan.skip()
			}
		default:
			err = scan.skip()
		}
		return err
	})
	if err != nil {
		return r, err
	}
	if err := scan.end(); err != nil {
		return r, err
	}
	r.signature, r.binary = p.signature, p.binaryOutput
	if !has["inputs"] || len(r.inputs) == 0 {
		return r, badRequest(`expected "inputs", a list of objects with name, shape, datatype and data`)
	}
	if outputs >= 0 {
		// They are read last, since their default is in the parameters.
		scan.i, scan.depth = outputs, 1
		if err := r.readOutputs(scan); err != nil {
			return r, err
		}
	}
	return r, r.takeBinary(tail)
}

// once refuses a member that is given twice.
func once(has map[string]bool, key, where string) error {
	if has[key] {
		return badRequest("%s: %q is given twice", where, key)
	}
	has[key] = true
	return nil
}

// text reads a string member.
func (s *scanner) text(where string) (string, error) {
	if s.peek() != '"' {
		return "", badRequest("%s: expected a string, got %s", where, s.what())
	}
	v, err := s.str()
	return string(v), err
}

func (r *inferRequest) readInputs(scan *scanner) error {
	if scan.peek() != '[' {
		return badRequest("inputs: expected a list, got %s", scan.what())
	}
	return scan.list(func(i int) error {
		where := "inputs[" + itoa(i) + "]"
		if scan.peek() != '{' {
			return badRequest("%s: expected an object with name, shape, datatype and data, got %s", where, scan.what())
		}
		in := inferInput{data: -1, has: make(map[string]bool)}
		if err := scan.object(func(key string) error { return in.member(scan, where, key) }); err != nil {
			return err
		}
		for _, key := range []string{"name", "datatype", "shape"} {
			if !in.has[key] {
				return badRequest("%s: missing %q", where, key)
			}
		}
		if slices.ContainsFunc(r.inputs, func(o inferInput) bool { return o.name == in.name }) {
			return badRequest("%s: input %q is given twice", where, in.name)
		}
		if in.data >= 0 {
			// The data came before its type: go back for it.
			end, depth := scan.i, scan.depth
			scan.i, scan.depth = in.data, scan.depth+1
			if err := in.readData(scan, where); err != nil {
				return err
			}
			scan.i, scan.depth = end, depth
		}
		if err := in.finish(where); err != nil {
			return err
		}
		r.inputs = append(r.inputs, in)
		return nil
	})
}

// member reads one member of an input.
func (in *inferInput) member(scan *scanner, where, key string) error {
	if err := once(in.has, key, where); err != nil {
		return err
	}
	var err error
	switch key {
	case "name":
		in.name, err = scan.text(where + ".name")
	case "datatype":
		var name string
		if name, err = scan.text(where + ".datatype"); err != nil {
			return err
		}
		if in.dtype, err = model.ParseDType(name); err != nil {
			return badRequest("%s.datatype: %v", where, err)
		}
	case "shape":
		in.shape, err = scan.shape(where + ".shape")
	case "parameters":
		in.params, err = scan.params(where + ".parameters")
	case "data":
		if in.dtype == model.Invalid {
			scan.peek()
			in.data = scan.i
			return scan.pass()
		}
		err = in.readData(scan, where)
	default:
		err = scan.skip()
	}
	return err
}

// shape reads a list of dimensions.
func (s *scanner) shape(where string) ([]int64, error) {
	if s.peek() != '[' {
		return nil, badRequest("%s: expected a list of integers, got %s", where, s.what())
	}
	shape := []int64{}
	err := s.list(func(i int) error {
		if c := s.peek(); c != '-' && (c < '0' || c > '9') {
			return badRequest("%s[%d]: expected an integer, got %s", where, i, s.what())
		}
		n, err := s.number()
		if err != nil {
			return err
		}
		d, ok := n.int(s.b, 64)
		if !ok || d < 0 {
			return badRequest("%s[%d]: %s is no dimension: expected an integer of at least 0", where, i, s.b[n.start:n.end])
		}
		shape = append(shape, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := model.Elements(shape); err != nil {
		return nil, badRequest("%s: %v", where, err)
	}
	return shape, nil
}

// readData reads an input's JSON data, flat or nested.
func (in *inferInput) readData(scan *scanner, where string) error {
	if in.dtype == model.Float16 || in.dtype == model.BFloat16 {
		return badRequest("%s.data: %v has no form in JSON: send it as binary data", where, in.dtype)
	}
	if scan.peek() != '[' {
		return badRequest("%s.data: expected a list, got %s", where, scan.what())
	}
	t := newTensorReader(scan, model.TensorSpec{DType: in.dtype, Shape: in.shape}, where+".data")
	if err := t.value(0); err != nil {
		return err
	}
	in.tensor = t.tensor()
	return nil
}

// finish checks an input's JSON data against its shape and gives it that shape.
func (in *inferInput) finish(where string) error {
	if !in.has["data"] {
		return nil
	}
	want, err := model.Elements(in.shape)
	if err != nil {
		return badRequest("%s.shape: %v", where, err)
	}
	got := in.tensor.Shape
	switch {
	case len(got) == 1 && got[0] != want:
		return badRequest("%s.data: shape %v needs %d elements, got %d", where, in.shape, want, got[0])
	case len(got) > 1 && !slices.Equal(got, in.shape):
		return badRequest("%s.data: expected nested lists of shape %v or a flat list of %d, got lists of shape %v", where, in.shape, want, got)
	}
	if in.dtype == model.Bytes && in.params.contentType == "base64" {
		for i, text := range in.tensor.Strings {
			if in.tensor.Strings[i], err = decodeBase64(text); err != nil {
				return badRequest("%s.data[%d]: %v", where, i, err)
			}
		}
	}
	in.tensor.Shape = in.shape
	return nil
}

func (r *inferRequest) readOutputs(scan *scanner) error {
	if scan.peek() != '[' {
		return badRequest("outputs: expected a list, got %s", scan.what())
	}
	return scan.list(func(i int) error {
		where := "outputs[" + itoa(i) + "]"
		if scan.peek() != '{' {
			return badRequest("%s: expected an object with name, got %s", where, scan.what())
		}
		out := inferOutput{binary: r.binary}
		has := make(map[string]bool)
		err := scan.object(func(key string) error {
			if err := once(has, key, where); err != nil {
				return err
			}
			var err error
			switch key {
			case "name":
				out.name, err = scan.text(where + ".name")
			case "parameters":
				var p params
				p, err = scan.params(where + ".parameters")
				out.classes = p.classes
				if p.binary != nil {
					out.binary = *p.binary
				}
			default:
				err = scan.skip()
			}
			return err
		})
		if err != nil {
			return err
		}
		if !has["name"] {
			return badRequest("%s: missing \"name\"", where)
		}
		if slices.ContainsFunc(r.outputs, func(o inferOutput) bool { return o.name == out.name }) {
			return badRequest("%s: output %q is given twice", where, out.name)
		}
		r.outputs = append(r.outputs, out)
		return nil
	})
}
