package serve

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestV2Malformed(t *testing.T) {
	t.Parallel()
	post := func(body string) call { return call{path: inferPath, body: body} }
	in := func(members string) call { return post(`{"inputs":[{` + members + `}]}`) }
	out := func(outputs string) call {
		return post(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}],"outputs":` + outputs + `}`)
	}
	good := in(`"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]`)
	testBad(t, good, []bad{
		{"empty body", post(``), 400, "expected an object"},
		{"not an object", post(`[]`), 400, "expected an object"},
		{"truncated", post(`{"inputs":[{"name":"x"`), 400, "expected a comma"},
		{"trailing data", call{path: inferPath, body: good.body + "x"}, 400, "after the request"},
		{"no inputs", post(`{}`), 400, `expected "inputs"`},
		{"empty inputs", post(`{"inputs":[]}`), 400, `expected "inputs"`},
		{"inputs is an object", post(`{"inputs":{"x":[1]}}`), 400, "inputs: expected a list, got an object"},
		{"an input is a number", post(`{"inputs":[1]}`), 400, "inputs[0]: expected an object"},
		{"duplicate inputs", post(`{"inputs":[],"inputs":[]}`), 400, "given twice"},
		{"id is a number", post(`{"id":1,"inputs":[]}`), 400, "id: expected a string, got 1"},
		{"parameters is a list", post(`{"parameters":[],"inputs":[]}`), 400, "parameters: expected an object"},
		{"no name", in(`"shape":[1,3],"datatype":"FP32","data":[1,2,3]`), 400, `inputs[0]: missing "name"`},
		{"no shape", in(`"name":"x","datatype":"FP32","data":[1,2,3]`), 400, `missing "shape"`},
		{"no datatype", in(`"name":"x","shape":[1,3],"data":[1,2,3]`), 400, `missing "datatype"`},
		{"no data", in(`"name":"x","shape":[1,3],"datatype":"FP32"`), 400, "expected data"},
		{"duplicate member", in(`"name":"x","name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]`), 400, `"name" is given twice`},
		{"duplicate input", post(`{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]},{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}`), 400, `input "x" is given twice`},
		{"name is null", in(`"name":null,"shape":[1,3],"datatype":"FP32","data":[1,2,3]`), 400, "inputs[0].name: expected a string, got null"},
		{"unknown datatype", in(`"name":"x","shape":[1,3],"datatype":"FLOAT","data":[1,2,3]`), 400, `unknown datatype "FLOAT"`},
		{"wrong datatype", in(`"name":"x","shape":[1,3],"datatype":"INT32","data":[1,2,3]`), 400, `input "x" is INT32, expected FP32`},
		{"unknown input", in(`"name":"y","shape":[1,3],"datatype":"FP32","data":[1,2,3]`), 400, `missing input "x"`},
		{"an input too many", post(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]},{"name":"y","shape":[1],"datatype":"FP32","data":[1]}]}`), 400, `unknown input "y"`},
		{"shape is a string", in(`"name":"x","shape":"1,3","datatype":"FP32","data":[1,2,3]`), 400, "shape: expected a list of integers, got a string"},
		{"shape of strings", in(`"name":"x","shape":["1"],"datatype":"FP32","data":[1]`), 400, "shape[0]: expected an integer"},
		{"negative dimension", in(`"name":"x","shape":[-1,3],"datatype":"FP32","data":[1,2,3]`), 400, "-1 is no dimension"},
		{"fraction as a dimension", in(`"name":"x","shape":[1.5,3],"datatype":"FP32","data":[1,2,3]`), 400, "1.5 is no dimension"},
		{"huge dimension", in(`"name":"x","shape":[9223372036854775808,3],"datatype":"FP32","data":[1]`), 400, "is no dimension"},
		{"huge shape", in(`"name":"x","shape":[4611686018427387904,4],"datatype":"FP32","data":[1]`), 400, "too large"},
		{"wrong shape", in(`"name":"x","shape":[3,1],"datatype":"FP32","data":[1,2,3]`), 400, "shape [3 1], expected [-1 3]"},
		{"wrong rank", in(`"name":"x","shape":[3],"datatype":"FP32","data":[1,2,3]`), 400, "expected [-1 3]"},
		{"too few data", in(`"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2]`), 400, "shape [1 3] needs 3 elements, got 2"},
		{"too many data", in(`"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3,4]`), 400, "needs 3 elements, got 4"},
		{"nested otherwise", in(`"name":"x","shape":[2,3],"datatype":"FP32","data":[[1,2],[3,4],[5,6]]`), 400, "expected nested lists of shape [2 3]"},
		{"ragged", in(`"name":"x","shape":[2,3],"datatype":"FP32","data":[[1,2,3],[4,5]]`), 400, "inputs[0].data[1]: the list has 2 elements"},
		{"data is a number", in(`"name":"x","shape":[1,3],"datatype":"FP32","data":1`), 400, "data: expected a list, got 1"},
		{"a string for a float", in(`"name":"x","shape":[1,3],"datatype":"FP32","data":[1,"2",3]`), 400, "inputs[0].data[1]: expected a number (FP32), got a string"},
		{"a string for a float, data first", in(`"data":[1,"2",3],"name":"x","shape":[1,3],"datatype":"FP32"`), 400, "inputs[0].data[1]"},
		{"NaN for an integer", in(`"name":"int64","shape":[1],"datatype":"INT64","data":[NaN]`), 400, "NaN is no INT64"},
		{"null for an integer", in(`"name":"int64","shape":[1],"datatype":"INT64","data":[null]`), 400, "expected a number (INT64), got null"},
		{"null for a boolean", in(`"name":"bool","shape":[1],"datatype":"BOOL","data":[null]`), 400, "expected true or false, got null"},
		{"Infinity as a dimension", in(`"name":"x","shape":[-Infinity,3],"datatype":"FP32","data":[1,2,3]`), 400, "is no dimension"},
		{"inputs is null", post(`{"inputs":null}`), 400, "inputs: expected a list, got null"},
		{"huge number", in(`"name":"x","shape":[1,3],"datatype":"FP32","data":[1e999,2,3]`), 400, "1e999 is no FP32"},
		{"overflow", in(`"name":"int8","shape":[1],"datatype":"INT8","data":[300]`), 400, "300 is no INT8"},
		{"fraction for an integer", in(`"name":"int64","shape":[1],"datatype":"INT64","data":[1.5]`), 400, "1.5 is no INT64"},
		{"1 for a boolean", in(`"name":"bool","shape":[1],"datatype":"BOOL","data":[1]`), 400, "expected true or false"},
		{"a number for a string", in(`"name":"bytes","shape":[1],"datatype":"BYTES","data":[1]`), 400, "expected a string"},
		{"bad base64", in(`"name":"bytes","shape":[1],"datatype":"BYTES","parameters":{"content_type":"base64"},"data":["!"]`), 400, "inputs[0].data[0]: invalid base64"},
		{"invalid UTF-8", in(`"name":"bytes","shape":[1],"datatype":"BYTES","data":["` + "\xff" + `"]`), 400, "UTF-8"},
		{"FP16 in JSON", in(`"name":"fp16","shape":[1],"datatype":"FP16","data":[1]`), 400, "binary data"},
		{"BF16 in JSON", in(`"name":"bf16","shape":[1],"datatype":"BF16","data":[1]`), 400, "binary data"},
		{"deep nesting", in(`"name":"x","shape":[1,3],"datatype":"FP32","data":` + deep(1000)), 400, "nested deeper than 16"},
		{"too many instances", in(`"name":"x","shape":[11,3],"datatype":"FP32","data":[` + strings.Repeat("1,", 32) + `1]`), 413, "limit of 10 instances"},
		{"binary size without binary data", in(`"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}`), 400, "binary_data_size is 12"},
		{"outputs is an object", out(`{}`), 400, "outputs: expected a list"},
		{"an output is a string", out(`["x_out"]`), 400, "outputs[0]: expected an object"},
		{"an output without a name", out(`[{}]`), 400, `outputs[0]: missing "name"`},
		{"unknown output", out(`[{"name":"y"}]`), 400, `unknown output "y"`},
		{"duplicate output", out(`[{"name":"x_out"},{"name":"x_out"}]`), 400, "given twice"},
		{"binary_data is a number", out(`[{"name":"x_out","parameters":{"binary_data":1}}]`), 400, "binary_data: expected true or false"},
		{"shared memory for an output", out(`[{"name":"x_out","parameters":{"shared_memory_region":"r"}}]`), 400, "outputs[0].parameters.shared_memory_region: shared memory is not supported"},
		{"shared memory for an input", post(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"shared_memory_region":"r","shared_memory_byte_size":12}}]}`), 400, "shared memory is not supported"},
		{"no classes", out(`[{"name":"x_out","parameters":{"classification":0}}]`), 400, "outputs[0].parameters.classification: expected how many classes"},
		{"half a class", out(`[{"name":"x_out","parameters":{"classification":1.5}}]`), 400, "classification: expected how many classes"},
		{"classes by a string", out(`[{"name":"x_out","parameters":{"classification":"3"}}]`), 400, "classification: expected how many classes"},
		{"classes of strings", post(`{"inputs":[{"name":"bytes","shape":[1],"datatype":"BYTES","data":["a"]}],"outputs":[{"name":"bytes_out","parameters":{"classification":1}}]}`), 400, `output "bytes_out": BYTES has no order`},
		{"signature_name is a number", post(`{"parameters":{"signature_name":1},"inputs":[]}`), 400, "parameters.signature_name: expected a string"},
		{"unknown signature", post(`{"parameters":{"signature_name":"nope"},"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`), 404, `no signature "nope"`},
		{"unknown model", call{path: "/v2/models/nope/infer", body: good.body}, 404, `this server has "toy"`},
		{"unknown version", call{path: "/v2/models/toy/versions/4/infer", body: good.body}, 404, "no version 4"},
		{"wrong method", call{method: http.MethodGet, path: inferPath}, 405, "expected POST"},
		{"content type", call{path: inferPath, header: map[string]string{"Content-Type": "application/xml"}, body: good.body}, 415, headerJSONLength},
		{"oversized body", post(`{"id":"` + strings.Repeat("a", 1<<16) + `"}`), 413, "limit of 65536 bytes"},
	})
}

func TestV2BinaryMalformed(t *testing.T) {
	t.Parallel()
	length := func(json, tail, header string) call {
		return call{path: inferPath, body: json + tail, header: map[string]string{headerJSONLength: header, "Content-Type": "application/octet-stream"}}
	}
	post := func(json, tail string) call { return length(json, tail, strconv.Itoa(len(json))) }
	in := func(name, datatype, shape, size, tail string) call {
		return post(`{"inputs":[{"name":"`+name+`","shape":`+shape+`,"datatype":"`+datatype+`","parameters":{"binary_data_size":`+size+`}}]}`, tail)
	}
	const json = `{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`
	const twelve = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	two := func(a, b, tail string) call {
		return post(`{"inputs":[{"name":"a","shape":[1],"datatype":"INT32",`+a+`},{"name":"b","shape":[1],"datatype":"BYTES",`+b+`}]}`, tail)
	}
	testBad(t, post(json, twelve), []bad{
		{"length is no number", length(json, twelve, "ten"), 400, "expected the JSON's length"},
		{"length is zero", length(json, twelve, "0"), 400, "expected the JSON's length"},
		{"length is negative", length(json, twelve, "-5"), 400, "expected the JSON's length"},
		{"length beyond the body", length(json, twelve, "100000"), 400, "1 to the body's"},
		{"length overflows", length(json, twelve, "99999999999999999999"), 400, "expected the JSON's length"},
		{"length has two values", length(json, twelve, "10, 10"), 400, "expected the JSON's length"},
		{"length too short", length(json, twelve, "20"), 400, "JSON parse error"},
		{"length one too short", length(json, twelve, strconv.Itoa(len(json)-1)), 400, "JSON parse error"},
		{"length one too long", length(json, twelve, strconv.Itoa(len(json)+1)), 400, "after the request"},
		{"empty body", length("", "", "1"), 400, "1 to the body's 0"},
		{"no binary data", post(json, ""), 400, "0 of the 0 bytes"},
		{"short by one", post(json, twelve[1:]), 400, "binary_data_size is 12, but 11"},
		{"long by one", post(json, twelve+"x"), 400, "1 of the 13 bytes after the JSON belong to no input"},
		{"size does not fit the shape", in("x", "FP32", "[1,3]", "8", twelve[4:]), 400, "needs 3 elements of 4 bytes, got 8 bytes"},
		{"size does not fit the type", in("x", "FP64", "[1,3]", "12", twelve), 400, "needs 3 elements of 8 bytes"},
		{"size is negative", in("x", "FP32", "[1,3]", "-12", twelve), 400, "is no number of bytes"},
		{"size is a string", in("x", "FP32", "[1,3]", `"12"`, twelve), 400, "expected a number of bytes"},
		{"size has a fraction", in("x", "FP32", "[1,3]", "12.5", twelve), 400, "is no number of bytes"},
		{"size overflows", in("x", "FP32", "[1,3]", "9223372036854775808", twelve), 400, "is no number of bytes"},
		{"size is huge", in("x", "FP32", "[1,3]", "9223372036854775807", twelve), 400, "binary_data_size is"},
		{"huge shape", in("x", "FP32", "[1048576,1048576,1024]", "12", twelve), 400, "needs"},
		{"overflowing shape", in("x", "FP64", "[2305843009213693952]", "12", twelve), 400, "needs"},
		{"shape too large", in("x", "FP64", "[4611686018427387904,4]", "12", twelve), 400, "too large"},
		{"negative dimension", in("x", "FP32", "[-1,3]", "12", twelve), 400, "no dimension"},
		{"wrong datatype", in("x", "INT32", "[1,3]", "12", twelve), 400, "is INT32, expected FP32"},
		{"unknown datatype", in("x", "FP8", "[1,3]", "12", twelve), 400, "unknown datatype"},
		{"wrong rank", in("x", "FP32", "[3]", "12", twelve), 400, "expected [-1 3]"},
		{"data and a size", post(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3],"parameters":{"binary_data_size":12}}]}`, twelve), 400, "got both"},
		{"data and unclaimed bytes", post(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, twelve), 400, "belong to no input"},
		{"no size", post(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32"}]}`, twelve), 400, "parameter binary_data_size"},
		{"a boolean of 2", in("bool", "BOOL", "[2]", "2", "\x01\x02"), 400, "neither 0 nor 1"},
		{"a string without its length", in("bytes", "BYTES", "[1]", "3", "\x01\x00\x00"), 400, "need at least 4 bytes"},
		{"a string longer than the data", in("bytes", "BYTES", "[1]", "5", "\x02\x00\x00\x00a"), 400, "has length 2, but 1 bytes are left"},
		{"a string of 4 GiB", in("bytes", "BYTES", "[1]", "5", "\xff\xff\xff\xffa"), 400, "has length 4294967295"},
		{"the second string is cut", in("bytes", "BYTES", "[2]", "8", "\x01\x00\x00\x00abcd"), 400, "string 1 of 2 has no length"},
		{"bytes after the strings", in("bytes", "BYTES", "[1]", "6", "\x01\x00\x00\x00ab"), 400, "1 bytes are left"},
		{"strings of a huge shape", in("bytes", "BYTES", "[1000000000]", "5", "\x01\x00\x00\x00a"), 400, "need at least"},
		{"the second input gets nothing", two(`"parameters":{"binary_data_size":4}`, `"parameters":{"binary_data_size":5}`, "\x00\x00\x00\x00"), 400, "inputs[1]: binary_data_size is 5, but 0 of the 4"},
		{"sizes swapped", two(`"parameters":{"binary_data_size":5}`, `"parameters":{"binary_data_size":4}`, "\x00\x00\x00\x00\x01\x00\x00\x00a"), 400, "inputs[0]: shape [1] of INT32 needs 1 elements of 4 bytes, got 5"},
		{"unknown model", call{path: "/v2/models/nope/infer", body: json + twelve, header: map[string]string{headerJSONLength: "10"}}, 404, "not found"},
		{"wrong method", call{method: http.MethodGet, path: inferPath}, 405, "expected POST"},
		{"content type", call{path: inferPath, body: json + twelve, header: map[string]string{headerJSONLength: "94", "Content-Type": "text/html"}}, 415, "expected application/json"},
		{"oversized body", post(json, strings.Repeat("x", 1<<16)), 413, "limit of 65536 bytes"},
	})
}
