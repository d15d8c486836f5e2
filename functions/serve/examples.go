package serve

import (
	"context"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"weir.dev/weir/functions/model"
)

// Field numbers of tensorflow/core/example/example.proto and feature.proto.
const (
	fieldExampleFeatures = 1 // Example.features
	fieldFeaturesFeature = 1 // Features.feature, a map<string, Feature>
	fieldMapKey          = 1
	fieldMapValue        = 2
	fieldListValue       = 1 // BytesList.value, FloatList.value, Int64List.value
)

// featureKind is Feature's field number of a kind of list.
type featureKind protowire.Number

const (
	kindNone  featureKind = 0
	kindBytes featureKind = 1
	kindFloat featureKind = 2
	kindInt64 featureKind = 3
)

func (k featureKind) String() string {
	return [...]string{"none", "strings", "numbers with a point", "integers"}[k]
}

// readExamples reads the examples of a :classify or :regress body as serialised tf.Example messages. The context's
// features are put before each example's own, which so win: merging messages is concatenating them.
func (s *Server) readExamples(e envelope) ([][]byte, error) {
	if err := e.check(s, e.instances, e.inputs); err != nil {
		return nil, err
	}
	if e.examples < 0 {
		return nil, badRequest(`expected "examples", a list of objects with the features of each`)
	}
	var context []byte
	if e.context >= 0 {
		r := exampleReader{scanner: e.at(s, e.context), at: "context"}
		var err error
		if context, err = r.example(); err != nil {
			return nil, err
		}
	}
	r := exampleReader{scanner: e.at(s, e.examples)}
	if c := r.peek(); c != '[' {
		return nil, r.fail("examples: expected a list, got %s", r.what())
	}
	var out [][]byte
	err := r.list(func(i int) error {
		if i >= s.limits.Instances {
			return tooMany(s.limits.Instances)
		}
		r.at = "examples[" + itoa(i) + "]"
		one, err := r.example()
		if err != nil {
			return err
		}
		out = append(out, append(append([]byte{}, context...), one...))
		return nil
	})
	if err == nil && len(out) == 0 {
		return nil, badRequest("examples: expected at least one, got an empty list")
	}
	return out, err
}

// exampleReader reads {"feature": value or list of values} into tf.Example's wire format.
type exampleReader struct {
	*scanner
	// at is where the example stands, for errors.
	at string
}

func (r *exampleReader) example() ([]byte, error) {
	if c := r.peek(); c != '{' {
		return nil, badRequest("%s: expected an object of features, got %s", r.at, r.what())
	}
	var features []byte
	seen := make(map[string]bool)
	err := r.object(func(name string) error {
		if seen[name] {
			return badRequest("%s: feature %q is given twice", r.at, name)
		}
		seen[name] = true
		feature, err := r.feature(name)
		if err != nil {
			return err
		}
		var entry []byte
		entry = appendField(entry, fieldMapKey, []byte(name))
		entry = appendField(entry, fieldMapValue, feature)
		features = appendField(features, fieldFeaturesFeature, entry)
		return nil
	})
	return appendField(nil, fieldExampleFeatures, features), err
}

func (r *exampleReader) feature(name string) ([]byte, error) {
	kind := kindNone
	var list []byte
	var err error
	if r.peek() == '[' {
		err = r.list(func(int) error {
			list, err = r.value(name, &kind, list)
			return err
		})
	} else {
		list, err = r.value(name, &kind, list)
	}
	if err != nil || kind == kindNone {
		return nil, err
	}
	if kind != kindBytes {
		// Lists of numbers are packed.
		list = appendField(nil, fieldListValue, list)
	}
	return appendField(nil, protowire.Number(kind), list), nil
}

// value appends one value to a feature's list. The first one decides the list's kind.
func (r *exampleReader) value(name string, kind *featureKind, list []byte) ([]byte, error) {
	var got featureKind
	start := r.i
	switch c := r.peek(); {
	case c == '"':
		v, err := r.str()
		if err != nil {
			return nil, err
		}
		got, list = kindBytes, appendField(list, fieldListValue, v)
	case c == '{' && r.isB64():
		v, err := r.b64()
		if err != nil {
			return nil, err
		}
		got, list = kindBytes, appendField(list, fieldListValue, v)
	case r.literal("true"):
		got, list = kindInt64, protowire.AppendVarint(list, 1)
	case r.literal("false"):
		got, list = kindInt64, protowire.AppendVarint(list, 0)
	case c == '{' || c == '[' || c == 'n':
		return nil, badRequest("%s: feature %q: expected numbers or strings, got %s", r.at, name, r.what())
	default:
		n, err := r.number()
		if err != nil {
			return nil, err
		}
		if got, list, err = r.numeric(name, n, list); err != nil {
			return nil, err
		}
	}
	if *kind != kindNone && *kind != got {
		return nil, badRequest("%s: feature %q mixes %v and %v (at offset %d)", r.at, name, *kind, got, start)
	}
	*kind = got
	return list, nil
}

func (r *exampleReader) numeric(name string, n number, list []byte) (featureKind, []byte, error) {
	if n.integer {
		v, ok := n.int(r.b, 64)
		if !ok {
			return kindNone, nil, badRequest("%s: feature %q: %s is no INT64", r.at, name, r.b[n.start:n.end])
		}
		return kindInt64, protowire.AppendVarint(list, uint64(v)), nil
	}
	f, ok := n.float32(r.b)
	if !ok {
		return kindNone, nil, badRequest("%s: feature %q: %s is no FP32", r.at, name, r.b[n.start:n.end])
	}
	return kindFloat, protowire.AppendFixed32(list, math.Float32bits(f)), nil
}

func appendField(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// predictExamples answers :classify and :regress.
func (s *Server) predictExamples(ctx context.Context, st *state, a api, e envelope, sig model.Signature) ([]byte, error) {
	if err := checkExamples(a, sig); err != nil {
		return nil, err
	}
	examples, err := s.readExamples(e)
	if err != nil {
		return nil, err
	}
	out, err := runExamples(ctx, st, a, sig, examples)
	if err != nil {
		return nil, err
	}
	if a == apiV1Regress {
		return writeRegression(out, int64(len(examples)), e.finite)
	}
	return writeClassification(out, int64(len(examples)), e.finite)
}

// checkExamples reports why a signature cannot classify or regress.
func checkExamples(a api, sig model.Signature) error {
	method, verb := model.MethodClassify, "classify"
	if a == apiV1Regress {
		method, verb = model.MethodRegress, "regress"
	}
	if sig.Method != method {
		return badRequest("signature %q has method %q, expected %q for :%s", sig.Name, sig.Method, method, verb)
	}
	if len(sig.Inputs) != 1 || sig.Inputs[0].DType != model.Bytes {
		return badRequest("signature %q takes %s, expected one input of tf.Example messages", sig.Name, inputNames(sig))
	}
	return nil
}

// runExamples runs a signature on serialised tf.Example messages.
func runExamples(ctx context.Context, st *state, a api, sig model.Signature, examples [][]byte) (model.Response, error) {
	if err := checkExamples(a, sig); err != nil {
		return model.Response{}, err
	}
	in := model.Tensor{DType: model.Bytes, Shape: []int64{int64(len(examples))}, Strings: examples}
	return st.model.Predict(ctx, model.Request{Signature: sig.Name, Inputs: map[string]model.Tensor{sig.Inputs[0].Name: in}})
}
