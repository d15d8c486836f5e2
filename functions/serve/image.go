package serve

import (
	"context"
	"mime"
	"net/http"
	"slices"
	"strings"

	"weir.dev/weir/functions/model"
)

// imageTypes are the media types of a raw body that a graph can decode.
var imageTypes = []string{"image/jpeg", "image/png", "image/gif", "image/bmp"}

// isImage reports whether a Content-Type is of an image, one that is taken or not.
func isImage(contentType string) bool { return strings.HasPrefix(mediaType(contentType), "image/") }

// mediaType is the type of a Content-Type in lower case without parameters; image/jpg is taken for what it means.
func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		t, _, _ = strings.Cut(contentType, ";")
		t = strings.ToLower(strings.TrimSpace(t))
	}
	switch t {
	case "image/jpg":
		return "image/jpeg"
	case "image/x-ms-bmp":
		return "image/bmp"
	}
	return t
}

// serveImage answers a raw image body in row format, as if it were the only instance.
func serveImage(s *Server, st *state, w http.ResponseWriter, r *http.Request, m *memory) error {
	if err := checkTarget(st, exchangeOf(r).target); err != nil {
		return err
	}
	if err := checkImage(st, r.Header.Get("Content-Type")); err != nil {
		return err
	}
	body, err := s.readBody(w, r, m)
	if err != nil {
		return err
	}
	answer, err := s.predictImage(r.Context(), st, body, false)
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

// checkImage reports whether the model takes images of such a type.
func checkImage(st *state, contentType string) error {
	if st.meta.ImageSignature == "" {
		return statusError(http.StatusUnsupportedMediaType, "model %q takes no image: expected application/json", st.meta.Name)
	}
	if t := mediaType(contentType); !slices.Contains(imageTypes, t) {
		return statusError(http.StatusUnsupportedMediaType, "content type %q is not supported: expected %s or application/json", t, orNone(imageTypes))
	}
	return nil
}

func (s *Server) predictImage(ctx context.Context, st *state, body []byte, finite bool) ([]byte, error) {
	if len(body) == 0 {
		return nil, badRequest("the body is empty: expected an image")
	}
	sig, err := signature(st, st.meta.ImageSignature)
	if err != nil {
		return nil, err
	}
	if len(sig.Inputs) != 1 {
		return nil, badRequest("signature %q takes %s, so an image alone is not enough", sig.Name, inputNames(sig))
	}
	in := model.Tensor{DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{body}}
	out, err := st.model.Predict(ctx, model.Request{Signature: sig.Name, Inputs: map[string]model.Tensor{sig.Inputs[0].Name: in}})
	if err != nil {
		return nil, err
	}
	return writePredictions(out, true, finite)
}
