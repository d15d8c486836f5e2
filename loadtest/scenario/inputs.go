package scenario

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxInput bounds a body in bytes: the router's own limit.
const maxInput = 32 << 20

var imageEndings = []string{".jpg", ".jpeg", ".png", ".gif", ".bmp"}

// inputs reads the bodies for a target.
func (r *reader) inputs(at string, f *fileInputs, t Target) []Input {
	switch {
	case f == nil || f.Images == "" && f.Bodies == "":
		if t.Model != "" {
			r.wrong(at, "expected images (a folder) or bodies (a file with a JSON body in each line)")
		}
		return nil
	case f.Images != "" && f.Bodies != "":
		r.wrong(at, "expected either images or bodies")
		return nil
	case f.Images != "":
		return r.images(at+".images", f.Images, t)
	case t.API == Bytes && t.URL == "":
		r.wrong(at+".bodies", "JSON bodies go with every other api; bytes takes images")
		return nil
	}
	return r.bodies(at+".bodies", f.Bodies, t)
}

// images are the pictures of a folder, as the API wants them.
func (r *reader) images(at, folder string, t Target) []Input {
	path := r.file(at, folder)
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // file has told
	}
	if err != nil {
		r.wrong(at, "expected a folder of images: %w", err)
		return nil
	}
	before := len(r.problems)
	var all []Input
	for _, e := range entries {
		if e.IsDir() || !slices.Contains(imageEndings, strings.ToLower(filepath.Ext(e.Name()))) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(path, e.Name()))
		if err != nil {
			r.wrong(at, "%w", err)
			continue
		}
		if kind := http.DetectContentType(data); !strings.HasPrefix(kind, "image/") {
			r.wrong(at, "%s: expected an image, not %s", filepath.Join(path, e.Name()), kind)
			continue
		}
		input, err := image(data, t)
		if err != nil {
			r.wrong(at, "%s: %w", e.Name(), err)
			continue
		}
		all = append(all, input)
	}
	if len(all) == 0 && len(r.problems) == before {
		r.wrong(at, "expected images (%s) in %s", strings.Join(imageEndings, ", "), path)
	}
	return all
}

func image(data []byte, t Target) (Input, error) {
	switch t.API {
	case GRPC, Predict:
		return imageCall(data, t)
	case JSON:
		return Input{ContentType: "application/json", Body: fmt.Appendf(nil, `{"signature_name":"image_bytes","instances":[{"b64":%q}]}`, base64.StdEncoding.EncodeToString(data))}, nil
	case V2:
		head := fmt.Appendf(nil, `{"parameters":{"signature_name":"image_bytes"},"inputs":[{"name":"image_bytes","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":%d}}]}`, 4+len(data))
		body := append(binary.LittleEndian.AppendUint32(slices.Clone(head), uint32(len(data))), data...)
		return Input{
			ContentType: "application/octet-stream", Body: body,
			Header: map[string]string{"Inference-Header-Content-Length": strconv.Itoa(len(head))},
		}, nil
	}
	return Input{ContentType: http.DetectContentType(data), Body: data}, nil
}

// bodies are the lines of a file, each a JSON value.
func (r *reader) bodies(at, name string, t Target) []Input {
	path := r.file(at, name)
	f, err := os.Open(path)
	if err != nil {
		return nil // file has told
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxInput)
	var all []Input
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if !json.Valid(line) {
			r.wrong(at, "%s:%d: expected one JSON value in the line", path, n)
			return nil
		}
		input := Input{ContentType: "application/json", Body: slices.Clone(line)}
		if t.API.Calls() {
			if input, err = call(line, t); err != nil {
				r.wrong(at, "%s:%d: %w", path, n, err)
				return nil
			}
		}
		all = append(all, input)
	}
	if err := lines.Err(); err != nil {
		r.wrong(at, "expected a file with a JSON body in each line: %w", err)
		return nil
	}
	if len(all) == 0 {
		r.wrong(at, "expected at least one body in %s", path)
	}
	return all
}

// replay reads a recorded trace: each line begins with the time of an arrival, in seconds or as in RFC 3339; what follows
// after a comma is skipped, as is a first line that is a heading.
func (r *reader) replay(at string, f fileStage) *Arrivals {
	speed := 1.0
	if f.Speed != nil {
		speed = *f.Speed
	}
	if speed <= 0 {
		r.wrong(at+".speed", "expected a speed above 0 such as 2 for twice as fast, not %v", speed)
		return &Arrivals{}
	}
	if f.From != nil || f.Think != "" || f.Sine != nil || f.Spike != nil {
		r.wrong(at, "from, think, sine and spike do not go with replay")
	}
	path := r.file(at+".replay", f.Replay)
	data, err := os.ReadFile(path)
	if err != nil {
		return &Arrivals{} // file has told
	}
	a := &Arrivals{}
	var first float64
	for n, line := range strings.Split(string(data), "\n") {
		text, _, _ := strings.Cut(strings.TrimSpace(line), ",")
		if text == "" {
			continue
		}
		seconds, ok := traceTime(text)
		switch {
		case !ok && n == 0:
			continue
		case !ok:
			r.wrong(at+".replay", "%s:%d: expected a time in seconds or as in RFC 3339, not %q", path, n+1, text)
			return a
		}
		if len(a.Trace) == 0 {
			first = seconds
		}
		after := (seconds - first) / speed
		if after > maxDuration.Seconds() {
			r.wrong(at+".replay", "%s:%d: expected a time within %v of the first", path, n+1, maxDuration)
			return a
		}
		due := time.Duration(after * float64(time.Second))
		if len(a.Trace) > 0 && due < a.Trace[len(a.Trace)-1] {
			r.wrong(at+".replay", "%s:%d: expected times in order", path, n+1)
			return a
		}
		a.Trace = append(a.Trace, due)
	}
	if len(a.Trace) == 0 {
		r.wrong(at+".replay", "expected at least one time in %s", path)
	}
	return a
}

func traceTime(text string) (float64, bool) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return float64(t.UnixNano()) / float64(time.Second), true
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && v >= 0
}
