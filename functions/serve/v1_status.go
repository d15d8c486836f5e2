package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"weir.dev/weir/functions/model"
)

func signatureNames(m model.Metadata) []string { return slices.Sorted(maps.Keys(m.Signatures)) }

// serveV1List answers KServe's list of models.
func serveV1List(_ *Server, st *state, w http.ResponseWriter, _ *http.Request) error {
	return encodeJSON(w, struct {
		Models []string `json:"models"`
	}{[]string{st.meta.Name}})
}

type v1Status struct {
	// Name and Ready are KServe's; TensorFlow Serving's clients look at the rest.
	Name     string      `json:"name"`
	Ready    bool        `json:"ready"`
	Versions []v1Version `json:"model_version_status"`
}

type v1Version struct {
	Version string `json:"version"`
	State   string `json:"state"`
	Status  struct {
		Code    string `json:"error_code"`
		Message string `json:"error_message"`
	} `json:"status"`
}

func serveV1Status(_ *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	if err := checkTarget(st, exchangeOf(r).target); err != nil {
		return err
	}
	v := v1Version{Version: st.version(), State: "AVAILABLE"}
	v.Status.Code = "OK"
	return encodeJSON(w, v1Status{Name: st.meta.Name, Ready: true, Versions: []v1Version{v}})
}

type v1Metadata struct {
	Spec struct {
		Name      string `json:"name"`
		Signature string `json:"signature_name"`
		Version   string `json:"version"`
	} `json:"model_spec"`
	Metadata struct {
		SignatureDef struct {
			SignatureDef map[string]v1Signature `json:"signature_def"`
		} `json:"signature_def"`
	} `json:"metadata"`
}

type v1Signature struct {
	Inputs  map[string]v1Tensor `json:"inputs"`
	Outputs map[string]v1Tensor `json:"outputs"`
	Method  string              `json:"method_name"`
}

type v1Tensor struct {
	DType string  `json:"dtype"`
	Shape v1Shape `json:"tensor_shape"`
	Name  string  `json:"name"`
}

type v1Shape struct {
	Dim         []v1Dim `json:"dim"`
	UnknownRank bool    `json:"unknown_rank"`
}

type v1Dim struct {
	Size string `json:"size"`
	Name string `json:"name"`
}

func serveV1Metadata(_ *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	if err := checkTarget(st, exchangeOf(r).target); err != nil {
		return err
	}
	var m v1Metadata
	m.Spec.Name, m.Spec.Version = st.meta.Name, st.version()
	m.Metadata.SignatureDef.SignatureDef = make(map[string]v1Signature)
	for name, sig := range st.meta.Signatures {
		m.Metadata.SignatureDef.SignatureDef[name] = v1Signature{Inputs: v1Tensors(sig.Inputs), Outputs: v1Tensors(sig.Outputs), Method: sig.Method}
	}
	return encodeJSON(w, m)
}

func v1Tensors(specs []model.TensorSpec) map[string]v1Tensor {
	out := make(map[string]v1Tensor, len(specs))
	for _, s := range specs {
		t := v1Tensor{DType: s.DType.TensorFlow(), Name: s.Name, Shape: v1Shape{Dim: []v1Dim{}, UnknownRank: s.AnyRank}}
		for _, d := range s.Shape {
			if !s.AnyRank {
				t.Shape.Dim = append(t.Shape.Dim, v1Dim{Size: strconv.FormatInt(d, 10)})
			}
		}
		out[s.Name] = t
	}
	return out
}

// encodeJSON is for small answers; those with tensors are written by tensorWriter.
func encodeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeJSON(w, append(b, '\n'))
}
