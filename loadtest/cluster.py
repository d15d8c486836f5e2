"""The figures of the Kubernetes node (RESULTS.md, "The cluster"): python3 loadtest/cluster.py [--cold] [--rounds 10]

It starts a node of its own, measures, prints a table, and takes the node down. `make build` and `weir cluster build` come
first; root is needed. --cold also compiles the node's programs with an empty Go cache, which takes 10 to 20 minutes.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WEIR = ROOT / "bin/weir"
DOMAIN = "default.127.0.0.1.sslip.io"


def run(*args, stdin=None, env=None):
    """Runs a program and returns what it prints."""
    return subprocess.run([str(a) for a in args], input=stdin, env={**os.environ, **(env or {})}, cwd=ROOT, text=True, check=True,
                          stdout=subprocess.PIPE).stdout


def seconds(do):
    began = time.monotonic()
    do()
    return time.monotonic() - began


def show(what, figure):
    print(f"| {what} | {figure} |", flush=True)


class Node:
    def __init__(self, state, listen):
        self.state, self.listen = state, listen

    def up(self):
        run(WEIR, "cluster", "up", "--on", "node", "--state", self.state, "--listen", self.listen)
        status = json.loads(run(WEIR, "cluster", "status", "--state", self.state, "-o", "json"))
        self.registry, self.config = status["registry"], status["kubeconfig"]

    def down(self):
        run(WEIR, "cluster", "down", "--state", self.state)

    def kubectl(self, *args, stdin=None):
        return run(ROOT / "build/cluster/programs/bin/weir-node", "kubectl", "--kubeconfig", self.config, *args, stdin=stdin)

    def service(self, name, image, args=(), concurrency=4, most=10, least=0):
        """Applies a Knative Service and waits until it is ready."""
        container = {"image": f"{self.registry}/{image}", "args": list(args)}
        if args:
            container["readinessProbe"] = {"httpGet": {"path": "/readyz"}}  # a function listens before its model is there
        self.kubectl("apply", "-f", "-", stdin=json.dumps({
            "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"template": {
                "metadata": {"annotations": {"autoscaling.knative.dev/min-scale": str(least), "autoscaling.knative.dev/max-scale": str(most)}},
                "spec": {"containerConcurrency": concurrency, "containers": [container]},
            }}}))
        self.kubectl("wait", f"ksvc/{name}", "--for", "condition=Ready", "--timeout", "120s")

    def ask(self, name, path="/", photo=None):
        """Asks a Service through the ingress; returns the seconds that it took."""
        body = ["--data-binary", f"@{photo}", "-H", "Content-Type: image/jpeg"] if photo else []
        out = run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "-H", f"Host: {name}.{DOMAIN}", *body, f"http://{self.listen}{path}")
        status, took = out.split()
        if status != "200":
            sys.exit(f"{name} answers {status}")
        return float(took)

    def gone(self, name):
        """Waits until a Service is at zero: its pods take no requests any more, although they may take 30 s to end."""
        self.kubectl("wait", f"deployment/{name}-00001-deployment", "--for", "jsonpath={.spec.replicas}=0", "--timeout", "120s")
        self.kubectl("wait", f"podautoscaler/{name}-00001", "--for", "condition=Active=False", "--timeout", "120s")

    def memory(self):
        """The proportional memory of all processes of the node and the number of them."""
        todo, total, count = [int((pathlib.Path(self.state) / "node/keeper.lock").read_text())], 0, 0
        while todo:
            pid = todo.pop()
            try:
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    todo += [int(child) for child in (task / "children").read_text().split()]
                total += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
                count += 1
            except (FileNotFoundError, ProcessLookupError, TypeError):
                continue  # it has ended, or has no memory of its own
        return f"{total / 1024:,.0f} MiB in {count} processes"


def scale_out(node):
    """hey with 8 callers on a model that takes one request at a time, 200 ms each by its declared delay."""
    node.service("slow", "weir/digits", ["--model", "/models/digits/1", "--delay-for-load-tests", "200ms"], concurrency=1, least=1)
    body = tempfile.NamedTemporaryFile("w", suffix=".json")
    body.write((ROOT / "loadtest/scenarios/digits.jsonl").read_text().splitlines()[0])
    body.flush()
    reached = {}
    began = time.monotonic()
    hey = subprocess.Popen(["go", "tool", "hey", "-z", "40s", "-c", "8", "-m", "POST", "-T", "application/json", "-D", body.name,
                            "-host", f"slow.{DOMAIN}", f"http://{node.listen}/v1/models/slow:predict"], cwd=ROOT, text=True, stdout=subprocess.PIPE)
    watch = subprocess.Popen([ROOT / "build/cluster/programs/bin/weir-node", "kubectl", "--kubeconfig", node.config, "get", "deployment", "slow-00001-deployment",
                              "--watch", "--output", r"jsonpath={.status.readyReplicas}{'\n'}"], text=True, stdout=subprocess.PIPE)

    def count():
        for line in watch.stdout:
            reached.setdefault(int(line.strip() or 0), time.monotonic() - began)

    threading.Thread(target=count, daemon=True).start()
    while hey.poll() is None and 10 not in reached:
        time.sleep(0.1)
    show("memory of the whole at 10 replicas under load", node.memory())
    answers = hey.communicate()[0]
    watch.terminate()
    most = max(reached)
    second = min(t for n, t in reached.items() if n >= 2)
    by_status = ", ".join(f"{n} x {status}" for status, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", answers))
    show(f"1 to 2 and to {most} replicas under `hey -c 8`", f"{second:.1f} and {reached[most]:.1f} s; answers: {by_status}")


def figures(node, rounds):
    show("`cluster up`, programs built, from an empty state to all available", f"{seconds(node.up):.1f} s")
    show("memory of the whole, nothing deployed", node.memory())
    node.kubectl("-n", "knative-serving", "patch", "configmap", "config-autoscaler", "--type", "merge", "--patch",
                 '{"data": {"scale-to-zero-grace-period": "3s", "stable-window": "6s"}}')
    ready = [seconds(lambda name=f"hello-{i}": node.service(name, "weir.dev/hello")) for i in range(5)]
    show("a Knative Service (hello), created to ready, median of 5", f"{statistics.median(ready):.1f} s ({min(ready):.1f} to {max(ready):.1f})")
    push = seconds(lambda: run(WEIR, "image", "push", "imagenet", "digits", "--to", node.registry))
    show("`weir image push imagenet digits`, layers built before", f"{push:.1f} s")
    first = seconds(lambda: node.service("imagenet", "weir/imagenet", ["--model", "/models/imagenet/1"]))
    show("`imagenet`, created to ready, its image not on the node yet", f"{first:.1f} s")
    photo = ROOT / "build/samples/china.jpg"
    warm = [node.ask("imagenet", "/v1/models/imagenet:predict", photo) for _ in range(20)]
    show("a photo to `imagenet`, warm, through the ingress, median of 20", f"{1000 * statistics.median(warm):.0f} ms")
    cold = []
    for _ in range(rounds):
        node.gone("imagenet")
        cold.append(node.ask("imagenet", "/v1/models/imagenet:predict", photo))
    show(f"cold start of `imagenet` through the activator, request to answer, median of {rounds}", f"{statistics.median(cold):.2f} s ({min(cold):.2f} to {max(cold):.2f})")
    scale_out(node)


def sizes():
    made = json.loads(run(WEIR, "image", "build", "-o", "json"))
    show("images, packed (unpacked)", ", ".join(
        f"{i['name']} {sum(l['packed'] for l in i['layers']) / 1e6:.0f} ({sum(l['unpacked'] for l in i['layers']) / 1e6:.0f}) MB" for i in made))


def cold_build():
    """Compiles the node's programs in a clone with an empty Go cache; modules that are there are not downloaded again."""
    with tempfile.TemporaryDirectory() as tmp:
        run("git", "clone", "--quiet", ROOT, f"{tmp}/weir")
        took = seconds(lambda: run(WEIR, "cluster", "build", "--source", f"{tmp}/weir", env={"GOCACHE": f"{tmp}/cache"}))
        show("the node's programs compiled, empty Go cache, modules there", f"{took / 60:.1f} min")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="cold starts")
    parser.add_argument("--listen", default="127.0.0.1:8088", help="where the ingress listens")
    parser.add_argument("--cold", action="store_true", help="compile with an empty Go cache, too")
    options = parser.parse_args()
    print("| what | figure |\n| --- | --- |")
    if options.cold:
        cold_build()
    sizes()
    with tempfile.TemporaryDirectory(prefix="weir-figures-") as state:
        node = Node(state, options.listen)
        try:
            figures(node, options.rounds)
        finally:
            took = seconds(node.down)
        show("`cluster down`", f"{took:.1f} s")


if __name__ == "__main__":
    main()
