package serve

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"weir.dev/weir/functions/model"
)

// checkTarget reports whether the path's model, version and label are those that are served.
func checkTarget(st *state, t target) error {
	if t.model != st.meta.Name {
		return noModel(t.model, st.meta.Name)
	}
	if t.version != "" {
		if err := checkVersion(st, t.version); err != nil {
			return err
		}
	}
	if t.label != "" && !slices.Contains(st.meta.Labels, t.label) {
		return model.Errorf(model.NotFound, "model %q has no version label %q: it has %s", st.meta.Name, t.label, orNone(st.meta.Labels))
	}
	return nil
}

func noModel(name, has string) error {
	return model.Errorf(model.NotFound, "model %q not found: this server has %q", name, has)
}

// checkName is checkTarget before there is a model.
func (s *Server) checkName(name string) error {
	if name != s.name {
		return noModel(name, s.name)
	}
	return nil
}

func checkVersion(st *state, text string) error {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return badRequest("version %q is no number: model %q has version %d", text, st.meta.Name, st.meta.Version)
	}
	// 0 is the latest: so OpenVINO Model Server has it, and its client says nothing else unless it is told to.
	if v != st.meta.Version && v != 0 {
		return model.Errorf(model.NotFound, "model %q has no version %d: it has %d", st.meta.Name, v, st.meta.Version)
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var b []byte
	for i, n := range names {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, n)
	}
	return string(b)
}

// serveV1 answers :predict, :classify and :regress.
func serveV1(a api) func(*Server, *state, http.ResponseWriter, *http.Request) error {
	return lease(func(s *Server, st *state, w http.ResponseWriter, r *http.Request, m *memory) error {
		if err := checkTarget(st, exchangeOf(r).target); err != nil {
			return err
		}
		if !isJSON(r.Header.Get("Content-Type")) {
			return statusError(http.StatusUnsupportedMediaType, "content type %q is not supported: expected application/json%s",
				r.Header.Get("Content-Type"), orImages(st, a))
		}
		body, err := s.readBody(w, r, m)
		if err != nil {
			return err
		}
		e, err := s.readEnvelope(body, false)
		if err != nil {
			return err
		}
		e.memory = m
		answer, err := s.predictV1(r.Context(), st, a, e)
		if err != nil {
			return err
		}
		return writeJSON(w, answer)
	})
}

func orImages(st *state, a api) string {
	if a != apiV1Predict || st.meta.ImageSignature == "" {
		return ""
	}
	return " or " + orNone(imageTypes)
}

// predictV1 decodes the tensors of a V1 body, predicts and encodes the answer.
func (s *Server) predictV1(ctx context.Context, st *state, a api, e envelope) ([]byte, error) {
	sig, err := signature(st, e.signature)
	if err != nil {
		return nil, err
	}
	if a != apiV1Predict {
		return s.predictExamples(ctx, st, a, e, sig)
	}
	inputs, err := s.readInputs(e, sig)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(sig.Inputs, func(in model.TensorSpec) bool { return in.DType == model.Bytes }) { // strings are parts of the body
		e.memory.decoded(e.body)
	}
	out, err := st.model.Predict(ctx, model.Request{Signature: sig.Name, Inputs: inputs})
	if err != nil {
		return nil, err
	}
	return writePredictions(out, e.instances >= 0, e.finite)
}

// signature finds a signature by name; an empty name is the default one.
func signature(st *state, name string) (model.Signature, error) {
	name = or(name, model.DefaultSignature)
	sig, ok := st.meta.Signatures[name]
	if !ok {
		return sig, model.Errorf(model.NotFound, "model %q has no signature %q: it has %s", st.meta.Name, name, orNone(signatureNames(st.meta)))
	}
	sig.Name = name
	return sig, nil
}
