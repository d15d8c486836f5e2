package test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	psnet "github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

// TestDeployOneOfYourOwn walks a SavedModel that weir has never seen through its life.
func TestDeployOneOfYourOwn(t *testing.T) {
	w := ownWeir(t, harness.Quick...)
	model := harness.Path("build/fixtures/half_plus_two/1")
	if out := w.must(t, "status"); !strings.Contains(out, "No services yet") {
		t.Errorf("status of nothing says %q", out)
	}
	w.must(t, "deploy", "half", "--model", model, "--min-scale", "1", "--concurrency", "8", "--env", "GREETING=hello")
	half := func(args ...string) string {
		return w.must(t, append([]string{"predict", "half", "-o", "json", "--json", writeFile(t, `{"instances":[1.0,2.0,5.0]}`)}, args...)...)
	}
	var a struct{ Predictions []float64 }
	if err := json.Unmarshal([]byte(half()), &a); err != nil || !cmp.Equal(a.Predictions, []float64{2.5, 3, 4.5}) {
		t.Errorf("half of 1, 2, 5 plus two is %v (%v)", a.Predictions, err)
	}
	for _, pid := range w.replicas(t) {
		if where := listens(t, pid); len(where) != 1 || where[0] != "127.0.0.1" {
			t.Errorf("a replica listens on %v: only this machine's router is to reach it", where)
		}
	}
	w.must(t, "deploy", "half", "--model", "file://"+model, "--version", "2", "--tag", "next", "--traffic", "0")
	half("--tag", "next")
	half("--version", "2")

	var all []knative.ServiceStatus
	if err := json.Unmarshal([]byte(w.must(t, "status", "half", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	percents := map[string]int{}
	for _, r := range all[0].Revisions {
		percents[r.Name] = r.Percent
	}
	if want := map[string]int{"half-00001": 100, "half-00002": 0}; !cmp.Equal(percents, want) {
		t.Errorf("traffic is %v, want %v", percents, want)
	}
	if out := w.must(t, "logs", "half"); !strings.Contains(out, "half-0000") {
		t.Errorf("logs have no line of a replica:\n%s", out)
	}
	var deployed knative.ServiceStatus
	out := w.must(t, "deploy", "half", "--model", "file://"+model, "--wait=false", "-o", "json")
	if err := json.Unmarshal([]byte(out), &deployed); err != nil || deployed.Name != "half" {
		t.Errorf("deploy without waiting says %v: %s", err, out)
	}
	w.must(t, "delete", "half")
	if _, errs, err := w.Run(t.Context(), "predict", "half", "--json", writeFile(t, `{"instances":[1]}`)); err == nil || !strings.Contains(errs, "404") {
		t.Errorf("predict after delete: %v: %s", err, errs)
	}
	await(t, 20*time.Second, "the replicas of a deleted service end", func() bool { return len(w.replicas(t)) == 0 })
}

// listens returns the addresses on which a process listens.
func listens(t *testing.T, pid int) (where []string) {
	t.Helper()
	sockets, err := psnet.ConnectionsPid("tcp", int32(pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		if s.Status == "LISTEN" {
			where = append(where, s.Laddr.IP)
		}
	}
	return where
}

// TestEveryType serves a SavedModel with a tensor of every type, strings in rows and columns among them.
func TestEveryType(t *testing.T) {
	w := ownWeir(t, harness.Quick...)
	w.must(t, "deploy", "dtypes", "--model", harness.Path("build/fixtures/dtypes/1"))
	for _, c := range []struct{ name, path, body, want string }{
		{"rows", "/v1/models/dtypes:predict", `{"instances":[{"bool":true,"uint8":255,"uint16":65535,"uint32":4294967295,"uint64":18446744073709551615,` +
			`"int8":-128,"int16":-32768,"int32":-2147483648,"int64":-9223372036854775808,"float16":1.5,"bfloat16":-2,"float32":0.1,"float64":0.1,"string":"é"}]}`,
			`{"predictions":[{"bfloat16":-2.0,"bool":true,"float16":1.5,"float32":0.1,"float64":0.1,"int16":-32768,"int32":-2147483648,"int64":-9223372036854775808,` +
				`"int8":-128,"string":"é","uint16":65535,"uint32":4294967295,"uint64":18446744073709551615,"uint8":255}]}`},
		{"strings", "/v1/models/dtypes:predict", `{"signature_name":"text","instances":[["a","bc"],["d",{"b64":"ZQ=="}]]}`,
			`{"predictions":[{"length":[1,2],"upper":["A","BC"]},{"length":[1,1],"upper":["D","E"]}]}`},
		{"no string", "/v1/models/dtypes:predict", `{"signature_name":"text","inputs":[[],[]]}`, `{"outputs":{"length":[[],[]],"upper":[[],[]]}}`},
		{"V2", "/v2/models/dtypes/infer", `{"parameters":{"signature_name":"text"},"inputs":[{"name":"text","shape":[1,2],"datatype":"BYTES","data":["a","b"]}],"outputs":[{"name":"upper"}]}`,
			`{"model_name":"dtypes","model_version":"1","outputs":[{"name":"upper","datatype":"BYTES","shape":[1,2],"data":["A","B"]}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, w.URL(c.path), strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := do(t, req); got.status != http.StatusOK || strings.TrimSpace(string(got.body)) != c.want {
				t.Errorf("%d\n got %s\nwant %s", got.status, got.body, c.want)
			}
		})
	}
}

// TestDeployFromAnAddress serves a model from an archive behind an address.
func TestDeployFromAnAddress(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "half.tar.gz")
	if out, err := exec.Command("tar", "-C", harness.Path("build/fixtures/half_plus_two"), "-czf", archive, "1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer files.Close()
	w := ownWeir(t, harness.Quick...)
	w.must(t, "deploy", "half", "--model", files.URL+"/half.tar.gz", "--env", "XDG_CACHE_HOME="+dir)
	if out := w.must(t, "predict", "half", "--json", writeFile(t, `{"instances":[4.0]}`)); !strings.Contains(out, "4.0") && !strings.Contains(out, "[4]") {
		t.Errorf("half of 4 plus two is %s", out)
	}
	_, errs, err := w.Run(t.Context(), "deploy", "half", "--model", files.URL+"/absent.tar.gz", "--env", "XDG_CACHE_HOME="+dir)
	if err == nil || !strings.Contains(errs, "404") {
		t.Errorf("deploy of an absent archive: %v: %s", err, errs)
	}
	// The revision that failed takes nothing from the one that works.
	w.must(t, "predict", "half", "--json", writeFile(t, `{"instances":[4.0]}`))
	// An archive on this machine needs no server.
	w.must(t, "deploy", "quarter", "--model", archive, "--env", "XDG_CACHE_HOME="+dir)
	w.must(t, "predict", "quarter", "--json", writeFile(t, `{"instances":[4.0]}`))
}

// TestMistakes makes the mistakes that people make and reads what weir says.
func TestMistakes(t *testing.T) {
	w := sharedWeir(t)
	empty := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"unknown command", []string{"frobnicate"}, 2, "unknown command"},
		{"too many arguments", []string{"status", "digits", "embed"}, 2, `"embed" is one argument too many`},
		{"an argument where none is", []string{"down", "digits"}, 2, `"digits" is one argument too many`},
		{"tag and version", []string{"predict", "digits", "--tag", "a", "--version", "1", "--json", "-"}, 2, "either --tag or --version"},
		{"unknown flag", []string{"status", "--colour"}, 2, "unknown flag: --colour"},
		{"unknown output", []string{"status", "-o", "xml"}, 2, `output "xml" is unknown: it is one of table, wide, json`},
		{"no name", []string{"predict", "--json", "-"}, 2, "NAME is missing"},
		{"nothing to send", []string{"predict", "imagenet"}, 2, "give either --image or --json"},
		{"unknown service", []string{"status", "nobody"}, 1, `no service "nobody": there is digits, embed, imagenet, router`},
		{"unknown model", []string{"predict", "nobody", "--json", writeFile(t, "{}")}, 1, "digits"},
		{"unknown tag", []string{"predict", "digits", "--tag", "v9", "--json", writeFile(t, "{}")}, 1, "404"},
		{"no image", []string{"predict", "imagenet", "--image", writeFile(t, "hello")}, 1, "expected JPEG, PNG, GIF or BMP"},
		{"no file", []string{"predict", "imagenet", "--image", "/nowhere.jpg"}, 1, "/nowhere.jpg"},
		{"broken JSON", []string{"predict", "digits", "--json", writeFile(t, `{"instances": [`)}, 1, "400"},
		{"no model", []string{"deploy", "x"}, 2, "--model is missing"},
		{"no registry", []string{"image", "push"}, 2, "--to is missing"},
		{"one model for two images", []string{"image", "build", "a", "b", "--model", "m"}, 2, "give one NAME, not 2"},
		{"no such image", []string{"image", "build", "cats"}, 1, "no image cats: there are digits,"},
		{"no such folder", []string{"deploy", "x", "--model", "/nowhere"}, 1, "is not there"},
		{"no such folder as a URL", []string{"deploy", "x", "--model", "file:///nowhere"}, 1, "is not there"},
		{"a file that is no model", []string{"deploy", "x", "--model", writeFile(t, "{}")}, 1, "no archive that can be unpacked"},
		{"a bad name", []string{"deploy", "Not_A_Name", "--model", empty}, 1, "Not_A_Name"},
		{"a batch that is never full", []string{"deploy", "x", "--model", empty, "--batch", "16", "--concurrency", "4"}, 1, "a replica gets at most 4 requests at once"},
		{"delete nothing", []string{"delete", "nobody"}, 1, "nobody"},
		{"logs of nothing", []string{"logs", "nobody"}, 1, "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, err := w.Run(t.Context(), c.args...)
			code := 0
			if e, ok := errors.AsType[*exec.ExitError](err); ok {
				code = e.ExitCode()
			}
			if code != c.code || !strings.Contains(errs, c.says) {
				t.Errorf("exit %d, want %d; it says %q, want %q in it%s", code, c.code, errs, c.says, out)
			}
		})
	}
	nowhere := &harness.Weir{State: filepath.Join(empty, "state")}
	if _, errs, err := nowhere.Run(t.Context(), "status"); err == nil || !strings.Contains(errs, "weir up") {
		t.Errorf("status without an engine: %v: %s", err, errs)
	}
}

// TestAModelThatDoesNotLoad is deployed: the reason is one sentence, and nothing else is harmed.
func TestAModelThatDoesNotLoad(t *testing.T) {
	w := ownWeir(t, append([]string{"-f", harness.Path("knative/20-digits.yaml")}, harness.Quick...)...)
	_, errs, err := w.Run(t.Context(), "deploy", "empty", "--model", t.TempDir())
	if err == nil || !strings.Contains(errs, "empty-00001 failed") || !strings.Contains(errs, "exit status 1: /") || !strings.Contains(errs, "is no SavedModel") {
		t.Errorf("deploy of an empty folder: %v: %s", err, errs)
	}
	revisionOf(t, w, "/v1/models/digits:predict", nil)
}

// TestHelp has every command explain itself with an example.
func TestHelp(t *testing.T) {
	w := sharedWeir(t)
	for _, c := range []string{"up", "deploy", "predict", "status", "logs", "delete", "down", "version"} {
		if out := w.must(t, c, "--help"); !strings.Contains(out, "Examples:\n  ") || !strings.Contains(out, "weir "+c) {
			t.Errorf("weir %s --help has no example:\n%s", c, out)
		}
	}
}

// TestStateSurvives ends weir by Ctrl-C and by a crash: services come back, and no replica of the dead engine stays.
func TestStateSurvives(t *testing.T) {
	dir := shortDir(t)
	args := append([]string{"-f", harness.Path("knative/20-digits.yaml")}, harness.Quick...)
	h, err := harness.Start(dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	w := &weir{h}
	revisionOf(t, w, "/v1/models/digits:predict", nil)
	stale := w.replicas(t)
	if len(stale) == 0 {
		t.Fatal("digits answered without a replica")
	}
	if err := w.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range stale {
		if !alive(pid) {
			t.Errorf("replica %d ended with its engine: the test wants it to be left over", pid)
		}
	}

	h, err = harness.Start(dir, harness.Quick...) // without -f: the state has digits
	if err != nil {
		t.Fatal(err)
	}
	w = &weir{h}
	for _, pid := range stale {
		if alive(pid) {
			t.Errorf("replica %d of the crashed engine is still there", pid)
		}
	}
	revisionOf(t, w, "/v1/models/digits:predict", nil)
	left := w.replicas(t)
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	for _, pid := range left {
		if alive(pid) {
			t.Errorf("replica %d outlived a clean end", pid)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(w.State, "records", "*")); len(files) > 0 {
		t.Errorf("records left: %v", files)
	}
}

// TestDrain ends weir while requests run: each of them is answered.
func TestDrain(t *testing.T) {
	w := ownWeir(t, append([]string{"-f", harness.Path("knative/30-imagenet-lite0.yaml")}, harness.Quick...)...)
	photo := sample(t, "china.jpg")
	const callers = 8
	done := make(chan error, callers)
	for range callers {
		go func() {
			resp, err := http.Post(w.URL("/v1/models/imagenet:predict"), "image/jpeg", strings.NewReader(string(photo)))
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = errors.New(resp.Status)
				}
			}
			done <- err
		}()
	}
	await(t, 20*time.Second, "the requests wait for the cold start", func() bool {
		r := w.revision(t, "imagenet", "")
		return r.Queue+int(r.Concurrency) > 0 || len(done) > 0
	})
	out := w.must(t, "down")
	if !strings.Contains(out, "weir is down") {
		t.Errorf("weir down says %q", out)
	}
	for range callers {
		if err := soon.Next(t, "an answer", done); err != nil {
			t.Errorf("a request that ran at the end: %v", err)
		}
	}
	<-w.Ended()
}

// alive says whether a process runs. One that has ended is not alive, though the init process may not have collected it
// yet.
func alive(pid int) bool {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return false
	}
	status, err := p.Status()
	return err == nil && !slices.Contains(status, process.Zombie)
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
