//go:build docker

package docker

import (
	"encoding/json"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/browser"
	"weir.dev/weir/internal/harness"
)

// TestCompose does what the README says on Docker: it builds the images from this checkout and runs compose.yaml, predicts with
// both models on the front end's page and by curl, and ends it. Nothing is left but what was built, in build/docker.
func TestCompose(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	before := look(t)
	commands := readme(t)
	t.Run("engine", func(t *testing.T) {
		e := startEngine(ctx, t)
		e.build(commands["build"])
		e.shell(commands["down"]) // of a run that was broken off
		e.Cleanup(func() {
			if e.Failed() && ctx.Err() == nil {
				e.Log(e.shell("docker compose ps --all; docker compose logs --tail 30"))
			}
		})
		began := time.Now()
		e.shell(commands["up"])
		t.Logf("from images to healthy: %.1f s", time.Since(began).Seconds())
		e.locked()
		if got := e.shell(commands["curl"]); !strings.Contains(got, "espresso") {
			t.Errorf("%s\nprints %s", commands["curl"], got)
		}
		e.home()
		e.shell(commands["down"])
		if got := e.shell("docker ps --all --quiet; docker network ls --quiet --filter name=weir"); got != "" {
			t.Errorf("docker compose down leaves %s", got)
		}
	})
	if diff := cmp.Diff(before, look(t)); diff != "" {
		t.Errorf("left on this machine (-before +after):\n%s", diff)
	}
}

// readme returns the commands of the README's section on Docker, by what they do. Like all of its commands they are run.
func readme(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(harness.Path("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Docker\n")
	section, _, _ = strings.Cut(section, "\n## ")
	lines := regexp.MustCompile(`(?m)^    (.+)$`).FindAllStringSubmatch(section, -1)
	commands := map[string]string{}
	for i, want := range []string{"docker compose build", "docker compose up", "curl", "docker compose down"} {
		if len(lines) != 4 || !strings.HasPrefix(lines[i][1], want) {
			t.Fatalf("the README's commands for Docker are %q: the test wants build, up, curl and down", lines)
		}
		words := strings.Fields(want)
		commands[words[len(words)-1]] = lines[i][1]
	}
	return commands
}

// build runs the README's command with a way to the package registries, which is closed again.
func (e *engine) build(command string) {
	e.Helper()
	began := time.Now()
	e.makeBase()
	e.Logf("base image: %.1f s", time.Since(began).Seconds())
	srv := proxy(e.listen(bridge + ":3128"))
	defer srv.Close()
	e.setProxies(map[string]string{"httpProxy": "http://" + bridge + ":3128", "httpsProxy": "http://" + bridge + ":3128"})
	defer e.setProxies(nil)
	began = time.Now()
	e.shell(command)
	e.Logf("%s: %.1f s", command, time.Since(began).Seconds())
	e.Logf("image sizes:\n%s", e.shell(`docker images --format '{{.Repository}} {{.Size}}' 'weir/*' | sort`))
}

// setProxies writes the settings of Docker's client, as one does behind a company's proxy.
func (e *engine) setProxies(proxies map[string]string) {
	e.Helper()
	settings, err := json.Marshal(map[string]any{"proxies": map[string]any{"default": proxies}})
	if err != nil {
		e.Fatal(err)
	}
	if err := os.WriteFile(folder("client/config.json"), settings, 0o644); err != nil {
		e.Fatal(err)
	}
}

// locked checks what each container may do, as the kernel sees it.
func (e *engine) locked() {
	e.Helper()
	for _, name := range []string{"router", "imagenet", "embed"} {
		got := strings.Fields(e.shell(`id=$(docker compose ps --quiet ` + name + `)
docker inspect --format '{{.State.Health.Status}} {{.HostConfig.ReadonlyRootfs}}' "$id"
pid=$(docker inspect --format '{{.State.Pid}}' "$id")
nsenter --target ` + strconv.Itoa(e.cmd.Process.Pid) + ` --mount --pid awk '$1 ~ /^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):/ { print $1 $2 }' "/proc/$pid/status"`))
		slices.Sort(got)
		want := []string{"CapBnd:0000000000000000", "CapEff:0000000000000000", "NoNewPrivs:1", "Seccomp:2", "Uid:65532", "healthy", "true"}
		if diff := cmp.Diff(want, got); diff != "" {
			e.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// home predicts on the front end's page with a browser, which is on this side of the namespace.
func (e *engine) home() {
	e.Helper()
	at := "http://" + e.forward("127.0.0.1:8080")
	tab := browser.Start(e.T).Tab(e.T, browser.Options{Width: 1280, Height: 1500, Timeout: 2 * time.Minute})
	tab.Open(at + "/home")
	tab.WaitText("#live-state", "Connected")
	photo := filepath.Join(e.TempDir(), "coffee.png")
	e.shell("curl -sf http://localhost:8080/home/samples/coffee.png -o " + photo)
	tab.WaitFor("!document.querySelector('#model').disabled")
	tab.Do(chromedp.SetUploadFiles("#file", []string{photo}, chromedp.ByQuery))
	tab.WaitText(".bars", "espresso")
	tab.WaitText("#facts", "imagenet-lite0")
	tab.Eval(`(() => { const m = document.querySelector("#model"); m.value = "embed"; m.dispatchEvent(new Event("change", {bubbles: true})); })()`, nil)
	tab.WaitText(".vector", "1280")
	tab.WaitText("#facts", "embed-00001")
	if problems := tab.Problems(); len(problems) > 0 {
		e.Errorf("the page complains: %q", problems)
	}
}

// look returns what an engine could leave behind: interfaces, mounts and processes that bear its marks.
func look(t *testing.T) []string {
	t.Helper()
	var found []string
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if regexp.MustCompile(`^(docker|br-|veth)`).MatchString(i.Name) {
			found = append(found, "interface "+i.Name)
		}
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, folder()) {
			found = append(found, "mount "+line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		// Those of containers, too: the engine is started with this name for their groups.
		groups, _ := os.ReadFile(filepath.Join(p, "cgroup"))
		command, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if strings.Contains(string(groups), cgroup()) || strings.Contains(string(command), cgroup()) {
			found = append(found, "process "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}
