package serve

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/functions/model"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden keeps the answers that clients of TensorFlow Serving, KServe and Triton parse.
func TestGolden(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{})
	m := toy()
	for name := range m.meta.Signatures {
		if name != model.DefaultSignature && name != "image_bytes" && name != "any" {
			delete(m.meta.Signatures, name)
		}
	}
	s.SetModel(m)
	for file, path := range map[string]string{
		"v1_list": "/v1/models", "v1_status": "/v1/models/toy", "v1_status_label": "/v1/models/toy/labels/stable",
		"v1_metadata": "/v1/models/toy/versions/3/metadata", "v2_metadata": "/v2/models/toy", "v2_metadata_image": "/v2/models/toy/versions/3?signature_name=image_bytes",
		"v2_ready": "/v2/models/toy/ready", "v2_live": "/v2/health/live", "v2_health": "/v2/health/ready",
	} {
		t.Run(file, func(t *testing.T) {
			w := get(t, s, path)
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, w.Body.Bytes(), "", "  "); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "golden", file+".json")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("GET %s (-want +got):\n%s", path, diff)
			}
		})
	}
}
