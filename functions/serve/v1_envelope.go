package serve

// envelope is a V1 body's first level. The large members are kept as offsets, since how they are read depends on the
// signature, which may be named after them; -1 says that there is none.
type envelope struct {
	body      []byte
	signature string
	instances, inputs,
	examples, context int
	// finite keeps the request and its answer to strict JSON, without NaN and the infinities.
	finite bool
	// memory is for the tensors.
	memory *memory
}

// readEnvelope reads the first level of a V1 body. Members that it does not know are ignored, as in TensorFlow Serving.
func (s *Server) readEnvelope(body []byte, finite bool) (envelope, error) {
	e := envelope{body: body, instances: -1, inputs: -1, examples: -1, context: -1, finite: finite}
	scan := s.scanner(body, !finite)
	if c := scan.peek(); c != '{' {
		return e, scan.fail(`expected an object with "instances" or "inputs", got %s`, scan.what())
	}
	named := false
	err := scan.object(func(key string) error {
		var at *int
		switch key {
		case "instances":
			at = &e.instances
		case "inputs":
			at = &e.inputs
		case "examples":
			at = &e.examples
		case "context":
			at = &e.context
		case "signature_name":
			if named {
				return scan.fail("signature_name is given twice")
			}
			if c := scan.peek(); c != '"' {
				return scan.fail("signature_name: expected a string, got %s", scan.what())
			}
			name, err := scan.str()
			e.signature, named = string(name), true
			return err
		default:
			return scan.skip()
		}
		if *at >= 0 {
			return scan.fail("%q is given twice", key)
		}
		scan.peek()
		*at = scan.i
		return scan.pass()
	})
	if err != nil {
		return e, err
	}
	return e, scan.end()
}

func (s *Server) scanner(body []byte, nonFinite bool) *scanner {
	return &scanner{b: body, maxDepth: s.limits.Depth, nonFinite: nonFinite}
}

// at returns a scanner that stands before one of the envelope's members.
func (e envelope) at(s *Server, offset int) *scanner {
	scan := s.scanner(e.body, !e.finite)
	scan.i, scan.depth, scan.memory = offset, 1, e.memory
	return scan
}

// check reads members that the request's method does not use, so that a broken one is an error all the same.
func (e envelope) check(s *Server, offsets ...int) error {
	for _, offset := range offsets {
		if offset < 0 {
			continue
		}
		if err := e.at(s, offset).skip(); err != nil {
			return err
		}
	}
	return nil
}
