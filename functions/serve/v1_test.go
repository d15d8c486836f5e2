package serve

import (
	"strings"
	"testing"
)

// TestV1Answers sends good requests and compares whole answers.
func TestV1Answers(t *testing.T) {
	t.Parallel()
	const predict = "/v1/models/toy:predict"
	h := toyServer(t).Handler()
	tests := []struct {
		name, path, body, want string
	}{
		{"rows of the only input", predict, `{"instances":[[1,2,3],[4.5,-0.0,1e2]]}`, `{"predictions":[[1.0,2.0,3.0],[4.5,-0.0,100.0]]}`},
		{"rows by name", predict, `{"instances":[{"x":[1,2,3]}]}`, `{"predictions":[[1.0,2.0,3.0]]}`},
		{"column of the only input", predict, `{"inputs":[[1,2,3]]}`, `{"outputs":[[1.0,2.0,3.0]]}`},
		{"column by name", predict, `{"inputs":{"x":[[1,2,3]]}}`, `{"outputs":[[1.0,2.0,3.0]]}`},
		{"version and default signature", "/v1/models/toy/versions/3:predict", `{"signature_name":"serving_default","instances":[[1,2,3]]}`, `{"predictions":[[1.0,2.0,3.0]]}`},
		{"label", "/v1/models/toy/labels/stable:predict", `{"instances":[[1,2,3]]}`, `{"predictions":[[1.0,2.0,3.0]]}`},
		{"unknown members are ignored", predict, `{"foo":{"bar":[1,"a",null,true]},"instances":[[1,2,3]]}`, `{"predictions":[[1.0,2.0,3.0]]}`},
		{"non-finite numbers", predict, `{"instances":[[NaN,Infinity,-Infinity]]}`, `{"predictions":[[NaN,Infinity,-Infinity]]}`},
		{"several inputs as rows, the _bytes rule", predict, `{"instances":[{"a":1,"b":"u"},{"b":{"b64":"dg=="},"a":-2}],"signature_name":"two"}`,
			`{"predictions":[{"a_out":1,"b_out":"u","b_out_bytes":{"b64":"dQ=="}},{"a_out":-2,"b_out":"v","b_out_bytes":{"b64":"dg=="}}]}`},
		{"several inputs as columns", predict, `{"signature_name":"two","inputs":{"a":[1],"b":[{"b64":"_-8"}]}}`,
			`{"outputs":{"a_out":[1],"b_out":["` + "\ufffd\ufffd" + `"],"b_out_bytes":[{"b64":"/+8="}]}}`},
		{"instances are b64 objects", predict, `{"signature_name":"bytes","instances":[{"b64":"YQ=="},"\u00e9\ud83d\ude00\n"]}`, `{"predictions":["a","é😀\u000a"]}`},
		{"quotes and backslashes before brackets", predict, `{"signature_name":"bytes","instances":["a\"]b","c\\","[\\\""]}`, `{"predictions":["a\"]b","c\\","[\\\""]}`},
		{"a scalar of any rank", predict, `{"signature_name":"any","inputs":0.1}`, `{"outputs":0.1}`},
		{"an empty tensor", predict, `{"signature_name":"any","inputs":[[],[]]}`, `{"outputs":[[],[]]}`},
		{"three levels", predict, `{"signature_name":"any","inputs":[[[1],[2]],[[3],[4]]]}`, `{"outputs":[[[1.0],[2.0]],[[3.0],[4.0]]]}`},
		{"booleans", predict, `{"signature_name":"bool","inputs":[true,false]}`, `{"outputs":[true,false]}`},
		{"largest uint64", predict, `{"signature_name":"uint64","inputs":[18446744073709551615,0,-0]}`, `{"outputs":[18446744073709551615,0,0]}`},
		{"int64 bounds", predict, `{"signature_name":"int64","inputs":[9223372036854775807,-9223372036854775808]}`, `{"outputs":[9223372036854775807,-9223372036854775808]}`},
		{"int8 bounds", predict, `{"signature_name":"int8","inputs":[127,-128]}`, `{"outputs":[127,-128]}`},
		{"uint16 bounds", predict, `{"signature_name":"uint16","inputs":[65535]}`, `{"outputs":[65535]}`},
		{"half", predict, `{"signature_name":"fp16","inputs":[1,65504,-0.1,6e-8]}`, `{"outputs":[1.0,65504.0,-0.099975586,5.9604645e-08]}`},
		{"bfloat16", predict, `{"signature_name":"bf16","inputs":[1,3.14,NaN]}`, `{"outputs":[1.0,3.140625,NaN]}`},
		{"white space everywhere", predict, " {\n\"instances\" : [ [ 1 , 2 ,\t3 ] ] } \r\n", `{"predictions":[[1.0,2.0,3.0]]}`},
		{"images in b64", predict, `{"signature_name":"image_bytes","instances":[{"b64":"YQ=="}]}`,
			`{"predictions":[{"classes":[281,207],"labels":["cat","dog"],"scores":[0.75,0.25]}]}`},
		{"classify", "/v1/models/toy:classify", `{"signature_name":"classify","context":{"lang":"en"},"examples":[{"age":[1,2],"w":1.5},{"on":true}]}`,
			`{"result":[[["cat",0.75],["dog",0.25]],[["cat",0.75],["dog",0.25]]],"results":[[["cat",0.75],["dog",0.25]],[["cat",0.75],["dog",0.25]]]}`},
		{"regress", "/v1/models/toy/versions/3:regress", `{"signature_name":"regress","examples":[{"x":{"b64":"AA=="}},{"x":["a"]}]}`,
			`{"result":[1.5,1.5],"results":[1.5,1.5]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := call{path: tt.path, body: tt.body}.do(t, h)
			if got := strings.TrimSuffix(w.Body.String(), "\n"); w.Code != 200 || got != tt.want {
				t.Errorf("status %d\n got %s\nwant %s", w.Code, got, tt.want)
			}
		})
	}
}
