package serve

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
	pb "weir.dev/weir/proto/inference"
)

// fromRPC reads an inference request; raw says that its tensors came as raw contents.
func fromRPC(req *pb.ModelInferRequest) (r inferRequest, raw bool, err error) {
	r = inferRequest{id: req.GetId(), binary: true}
	for name, v := range req.GetParameters() {
		if name == "signature_name" {
			if r.signature, err = textParam("parameters."+name, v); err != nil {
				return r, false, err
			}
		}
	}
	raws := req.GetRawInputContents()
	raw = len(raws) > 0
	if raw && len(raws) != len(req.GetInputs()) {
		return r, raw, badRequest("expected one of raw_input_contents for each of the %d inputs, got %d", len(req.GetInputs()), len(raws))
	}
	for i, in := range req.GetInputs() {
		where := "inputs[" + itoa(i) + "]"
		t := inferInput{name: in.GetName(), shape: in.GetShape()}
		if slices.ContainsFunc(r.inputs, func(o inferInput) bool { return o.name == t.name }) {
			return r, raw, badRequest("%s: input %q is given twice", where, t.name)
		}
		if t.dtype, err = model.ParseDType(in.GetDatatype()); err != nil {
			return r, raw, badRequest("%s.datatype: %v", where, err)
		}
		if err := refuseSharedMemory(where, in.GetParameters()); err != nil {
			return r, raw, err
		}
		switch {
		case raw && proto.Size(in.GetContents()) > 0: // MLServer's client sends an empty one
			return r, raw, badRequest("%s: expected either contents or raw_input_contents, got both", where)
		case raw:
			t.tensor, err = decodeBinary(t.dtype, t.shape, raws[i])
		default:
			t.tensor, err = fromContents(t.dtype, t.shape, in.GetContents())
		}
		if err != nil {
			return r, raw, badRequest("%s: %v", where, err)
		}
		r.inputs = append(r.inputs, t)
	}
	if len(r.inputs) == 0 {
		return r, raw, badRequest("expected inputs, got none")
	}
	for i, out := range req.GetOutputs() {
		where := "outputs[" + itoa(i) + "]"
		if slices.ContainsFunc(r.outputs, func(o inferOutput) bool { return o.name == out.GetName() }) {
			return r, raw, badRequest("%s: output %q is given twice", where, out.GetName())
		}
		if err := refuseSharedMemory(where, out.GetParameters()); err != nil {
			return r, raw, err
		}
		classes, err := classesParam(where, out.GetParameters())
		if err != nil {
			return r, raw, err
		}
		r.outputs = append(r.outputs, inferOutput{name: out.GetName(), classes: classes})
	}
	return r, raw, nil
}

func textParam(where string, p *pb.InferParameter) (string, error) {
	v, ok := p.GetParameterChoice().(*pb.InferParameter_StringParam)
	if !ok {
		return "", badRequest("%s: expected a string_param", where)
	}
	return v.StringParam, nil
}

func refuseSharedMemory(where string, params map[string]*pb.InferParameter) error {
	if _, ok := params[paramSharedMemory]; ok {
		return noSharedMemory(where + ".parameters." + paramSharedMemory)
	}
	return nil
}

// classesParam says how many classes are asked for; 0 if it is not given.
func classesParam(where string, params map[string]*pb.InferParameter) (int64, error) {
	p, ok := params[paramClassification]
	if !ok {
		return 0, nil
	}
	n := p.GetInt64Param()
	if v, ok := p.GetParameterChoice().(*pb.InferParameter_Uint64Param); ok {
		n = int64(min(v.Uint64Param, math.MaxInt64))
	}
	if n < 1 {
		return 0, badClasses(where + ".parameters." + paramClassification)
	}
	return n, nil
}

// fromContents makes a tensor of typed contents. The narrow types share the field of a wider one.
func fromContents(d model.DType, shape []int64, c *pb.InferTensorContents) (model.Tensor, error) {
	t := model.Tensor{DType: d, Shape: shape}
	want, err := model.Elements(shape)
	if err != nil {
		return t, err
	}
	var got int
	switch d {
	case model.Bool:
		got = len(c.GetBoolContents())
		t.Data = make([]byte, 0, got)
		for _, v := range c.GetBoolContents() {
			b := byte(0)
			if v {
				b = 1
			}
			t.Data = append(t.Data, b)
		}
	case model.Int8, model.Int16, model.Int32:
		got = len(c.GetIntContents())
		t.Data, err = appendNarrow(d, c.GetIntContents())
	case model.Uint8, model.Uint16, model.Uint32:
		got = len(c.GetUintContents())
		t.Data, err = appendNarrow(d, c.GetUintContents())
	case model.Int64:
		got = len(c.GetInt64Contents())
		t.Data = appendWords(c.GetInt64Contents())
	case model.Uint64:
		got = len(c.GetUint64Contents())
		t.Data = appendWords(c.GetUint64Contents())
	case model.Float32:
		got = len(c.GetFp32Contents())
		t.Data = appendFloats(c.GetFp32Contents())
	case model.Float64:
		got = len(c.GetFp64Contents())
		t.Data = appendDoubles(c.GetFp64Contents())
	case model.Bytes:
		got = len(c.GetBytesContents())
		t.Strings = c.GetBytesContents()
	default:
		return t, badRequest("%v has no typed contents: send raw_input_contents", d)
	}
	if err != nil {
		return t, err
	}
	if int64(got) != want {
		return t, badRequest("shape %v of %v needs %d elements in contents.%s, got %d", shape, d, want, contentsField(d), got)
	}
	return t, nil
}

// contentsField is the field of InferTensorContents that carries an element type.
func contentsField(d model.DType) string {
	switch d {
	case model.Bool:
		return "bool_contents"
	case model.Int8, model.Int16, model.Int32:
		return "int_contents"
	case model.Uint8, model.Uint16, model.Uint32:
		return "uint_contents"
	case model.Int64:
		return "int64_contents"
	case model.Uint64:
		return "uint64_contents"
	case model.Float32:
		return "fp32_contents"
	case model.Float64:
		return "fp64_contents"
	}
	return "bytes_contents"
}

// appendNarrow writes numbers as elements of d, which is at most as wide, and refuses those that do not fit.
func appendNarrow[T int32 | uint32](d model.DType, values []T) ([]byte, error) {
	out := make([]byte, 0, len(values)*d.Size())
	least, most := int64(0), int64(1)<<(8*d.Size())-1
	if d == model.Int8 || d == model.Int16 || d == model.Int32 {
		least, most = -(most+1)/2, most/2
	}
	for i, v := range values {
		n := int64(v)
		if n < least || n > most {
			return nil, badRequest("element %d is %d, which is no %v", i, n, d)
		}
		switch d.Size() {
		case 1:
			out = append(out, byte(n))
		case 2:
			out = binary.LittleEndian.AppendUint16(out, uint16(n))
		default:
			out = binary.LittleEndian.AppendUint32(out, uint32(n))
		}
	}
	return out, nil
}

func appendWords[T int64 | uint64](values []T) []byte {
	out := make([]byte, 0, 8*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint64(out, uint64(v))
	}
	return out
}

func appendFloats(values []float32) []byte {
	out := make([]byte, 0, 4*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func appendDoubles(values []float64) []byte {
	out := make([]byte, 0, 8*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
	}
	return out
}

// toRPC makes the answer, with raw contents if the request had them or if an output has no typed ones.
func toRPC(st *state, in inferRequest, out model.Response, raw bool) (*pb.ModelInferResponse, error) {
	names, err := in.wanted(out)
	if err != nil {
		return nil, err
	}
	for _, o := range names {
		d := out.Outputs[o.name].DType
		raw = raw || d == model.Float16 || d == model.BFloat16
	}
	answer := &pb.ModelInferResponse{ModelName: st.meta.Name, ModelVersion: st.version(), Id: in.id}
	for _, o := range names {
		t := out.Outputs[o.name]
		to := &pb.ModelInferResponse_InferOutputTensor{Name: o.name, Datatype: t.DType.String(), Shape: t.Shape}
		if raw {
			answer.RawOutputContents = append(answer.RawOutputContents, rawContents(t))
		} else {
			to.Contents = toContents(t)
		}
		answer.Outputs = append(answer.Outputs, to)
	}
	return answer, nil
}

// rawContents shares the tensor's memory where it can.
func rawContents(t model.Tensor) []byte {
	if t.DType == model.Bytes {
		return appendBinary(nil, t)
	}
	return t.Data
}

// toContents is the reverse of fromContents.
func toContents(t model.Tensor) *pb.InferTensorContents {
	c := &pb.InferTensorContents{}
	switch t.DType {
	case model.Bool:
		for _, b := range t.Data {
			c.BoolContents = append(c.BoolContents, b != 0)
		}
	case model.Int8, model.Int16, model.Int32:
		c.IntContents = integersOf[int32](t)
	case model.Uint8, model.Uint16, model.Uint32:
		c.UintContents = integersOf[uint32](t)
	case model.Int64:
		c.Int64Contents = integersOf[int64](t)
	case model.Uint64:
		c.Uint64Contents = integersOf[uint64](t)
	case model.Float32:
		c.Fp32Contents = float32sOf(t)
	case model.Float64:
		c.Fp64Contents = float64sOf(t)
	case model.Bytes:
		c.BytesContents = t.Strings
	}
	return c
}

// integersOf are the elements of an integer tensor in a type that holds them.
func integersOf[T int32 | uint32 | int64 | uint64](t model.Tensor) []T {
	size := t.DType.Size()
	out := make([]T, 0, len(t.Data)/size)
	for b := t.Data; len(b) >= size; b = b[size:] {
		var v T
		switch t.DType {
		case model.Int8:
			v = T(int8(b[0]))
		case model.Uint8:
			v = T(b[0])
		case model.Int16:
			v = T(int16(binary.LittleEndian.Uint16(b)))
		case model.Uint16:
			v = T(binary.LittleEndian.Uint16(b))
		case model.Int32:
			v = T(int32(binary.LittleEndian.Uint32(b)))
		case model.Uint32:
			v = T(binary.LittleEndian.Uint32(b))
		default:
			v = T(binary.LittleEndian.Uint64(b))
		}
		out = append(out, v)
	}
	return out
}

func float32sOf(t model.Tensor) []float32 {
	out := make([]float32, 0, len(t.Data)/4)
	for b := t.Data; len(b) >= 4; b = b[4:] {
		out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return out
}

func float64sOf(t model.Tensor) []float64 {
	out := make([]float64, 0, len(t.Data)/8)
	for b := t.Data; len(b) >= 8; b = b[8:] {
		out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return out
}

// wanted are the outputs that a request asks for, in its order; all by name if it names none.
func (r inferRequest) wanted(out model.Response) ([]inferOutput, error) {
	wanted := r.outputs
	if len(wanted) == 0 {
		for _, name := range slices.Sorted(maps.Keys(out.Outputs)) {
			wanted = append(wanted, inferOutput{name: name, binary: r.binary})
		}
	}
	for _, o := range wanted {
		if _, ok := out.Outputs[o.name]; !ok {
			return nil, errNoOutput(o.name)
		}
	}
	return wanted, nil
}
