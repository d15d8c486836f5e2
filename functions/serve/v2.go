package serve

import (
	"context"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/triton"
)

// headerJSONLength says how much of a body is JSON; binary tensor data follows it.
const headerJSONLength = "Inference-Header-Content-Length"

// serveV2Live answers like /healthz, in the protocol's form: before there is a model too.
func serveV2Live(_ *Server, st *state, w http.ResponseWriter, _ *http.Request) error {
	if err := failed(st); err != nil {
		return err
	}
	return writeJSON(w, []byte("{\"live\":true}\n"))
}

func serveV2Ready(_ *Server, _ *state, w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, []byte("{\"ready\":true}\n"))
}

func serveV2Server(_ *Server, _ *state, w http.ResponseWriter, _ *http.Request) error {
	return encodeJSON(w, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{serverName, serverVersion(), triton.Extensions()})
}

// serverName is what the server's metadata says.
const serverName = "weir"

func serverVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func serveV2Model(_ *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	if err := checkTarget(st, exchangeOf(r).target); err != nil {
		return err
	}
	return encodeJSON(w, struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{st.meta.Name, true})
}

type v2Metadata struct {
	Name     string     `json:"name"`
	Versions []string   `json:"versions"`
	Platform string     `json:"platform"`
	Inputs   []v2Tensor `json:"inputs"`
	Outputs  []v2Tensor `json:"outputs"`
}

type v2Tensor struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// serveV2Metadata tells the tensors of the default signature, or of the one that the query's signature_name names.
func serveV2Metadata(_ *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	if err := checkTarget(st, exchangeOf(r).target); err != nil {
		return err
	}
	sig, err := shownSignature(st, r.URL.Query().Get("signature_name"))
	if err != nil {
		return err
	}
	return encodeJSON(w, v2Metadata{
		Name: st.meta.Name, Versions: []string{st.version()}, Platform: st.meta.Platform,
		Inputs: v2Tensors(sig.Inputs), Outputs: v2Tensors(sig.Outputs),
	})
}

// shownSignature is the signature that metadata tells of: the one that is named, else the default one, else the first.
func shownSignature(st *state, name string) (model.Signature, error) {
	if _, ok := st.meta.Signatures[model.DefaultSignature]; name == "" && !ok && len(st.meta.Signatures) > 0 {
		name = signatureNames(st.meta)[0]
	}
	return signature(st, name)
}

func v2Tensors(specs []model.TensorSpec) []v2Tensor {
	out := make([]v2Tensor, len(specs))
	for i, s := range specs {
		out[i] = v2Tensor{Name: s.Name, Datatype: s.DType.String(), Shape: s.Shape}
		if s.Shape == nil || s.AnyRank {
			out[i].Shape = []int64{}
		}
	}
	return out
}

// serveV2Infer answers an inference request, with binary tensor data after the JSON or without.
func serveV2Infer(s *Server, st *state, w http.ResponseWriter, r *http.Request, m *memory) error {
	if err := checkTarget(st, exchangeOf(r).target); err != nil {
		return err
	}
	header := r.Header.Get(headerJSONLength)
	contentType := r.Header.Get("Content-Type")
	// Octets are JSON, too, if no header says where it ends: some clients call every body so, and Triton does not look.
	if !isJSON(contentType) && mediaType(contentType) != contentBinary {
		return statusError(http.StatusUnsupportedMediaType,
			"content type %q is not supported: expected application/json, or %s with %s", contentType, contentBinary, headerJSONLength)
	}
	body, err := s.readBody(w, r, m)
	if err != nil {
		return err
	}
	length := len(body)
	if header != "" {
		if length, err = strconv.Atoi(header); err != nil || length <= 0 || length > len(body) {
			return badRequest("header %s is %q, expected the JSON's length in bytes, 1 to the body's %d", headerJSONLength, header, len(body))
		}
	}
	answer, err := s.inferV2(r.Context(), st, body[:length:length], body[length:], v2Form{binary: true}, m)
	if err != nil {
		return err
	}
	return answer.write(w)
}

// inferV2 decodes an inference request, predicts and encodes the answer.
func (s *Server) inferV2(ctx context.Context, st *state, body, tail []byte, form v2Form, m *memory) (v2Answer, error) {
	req, err := s.readInfer(body, tail, m)
	if err != nil {
		return v2Answer{}, err
	}
	if len(tail) == 0 && !slices.ContainsFunc(req.inputs, func(in inferInput) bool { return in.dtype == model.Bytes }) { // strings are parts of the body
		m.decoded(body)
	}
	out, err := s.predictV2(ctx, st, req, len(tail) > 0)
	if err != nil {
		return v2Answer{}, err
	}
	return writeInfer(st, req, out, form)
}

// asColumn makes a batch of single values of what Triton's clients send as [N, 1]: in its configuration no tensor has the batch's
// dimension alone.
func asColumn(spec model.TensorSpec, t model.Tensor) model.Tensor {
	if spec.Batched() && len(spec.Shape) == 1 && len(t.Shape) == 2 && t.Shape[1] == 1 {
		t.Shape = t.Shape[:1]
	}
	return t
}

// predictV2 predicts. The limit of instances is one of JSON: data that came in binary form is bounded by its size.
func (s *Server) predictV2(ctx context.Context, st *state, req inferRequest, unlimited bool) (model.Response, error) {
	sig, err := req.choose(st)
	if err != nil {
		return model.Response{}, err
	}
	in := model.Request{Signature: sig.Name, Inputs: make(map[string]model.Tensor, len(req.inputs))}
	for _, t := range req.inputs {
		spec, _ := sig.Input(t.name)
		if !unlimited && spec.Batched() && len(t.shape) > 0 && t.shape[0] > int64(s.limits.Instances) {
			return model.Response{}, tooMany(s.limits.Instances)
		}
		in.Inputs[t.name] = asColumn(spec, t.tensor)
	}
	for _, o := range req.outputs {
		in.Outputs = append(in.Outputs, o.name)
	}
	out, err := st.model.Predict(ctx, in)
	if err != nil {
		return out, err
	}
	return req.classify(sig, out)
}

// choose finds the signature that a request means: the one that its parameters name, else the default one if the
// inputs' names are its own, else another whose names they are.
func (r inferRequest) choose(st *state) (model.Signature, error) {
	if r.signature != "" {
		return signature(st, r.signature)
	}
	var byName string
	names := append([]string{model.DefaultSignature}, signatureNames(st.meta)...)
	for _, name := range names {
		sig, ok := st.meta.Signatures[name]
		named, typed := r.fits(sig)
		if ok && typed {
			return signature(st, name)
		}
		if ok && named && byName == "" {
			byName = name
		}
	}
	// With an empty name the default signature's own checks say what is expected.
	return signature(st, byName)
}

// fits reports whether the request's inputs have the signature's names, and its element types too.
func (r inferRequest) fits(sig model.Signature) (named, typed bool) {
	if len(r.inputs) != len(sig.Inputs) {
		return false, false
	}
	typed = true
	for _, t := range r.inputs {
		spec, ok := sig.Input(t.name)
		if !ok {
			return false, false
		}
		typed = typed && spec.DType == t.dtype
	}
	return true, typed
}
