"""Runs the scenarios of RESULTS.md one after the other and prints their figures: `make load-results`.

    python3 loadtest/results.py            # all of them, 14 minutes
    python3 loadtest/results.py --short    # the fixed replica, both overloads and the crowd, 7 minutes
    python3 loadtest/results.py crowd      # those that are named
    python3 loadtest/results.py --cluster  # the experiment on a Kubernetes node of its own (root; weir cluster build), 12 minutes

Reports go to build/load-results/NAME, the pictures to loadtest/pictures. The exit code is 1 if a threshold is broken.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from cluster import Node

ROOT = pathlib.Path(__file__).resolve().parent.parent
WEIR = ROOT / "bin" / "weir"
OUT = ROOT / "build" / "load-results"

# Name, seconds it is stretched to (None: its own), whether the short form has it. soak and the waits for zero replicas that
# prove nothing new are left out; they can be named.
SCENARIOS = [
    ("first", None, False),
    ("grpc", None, False),
    ("rollout-under-load", None, False),
    ("burst-from-zero", None, False),
    ("no-autoscaling", None, True),
    ("autoscaling", None, False),
    ("waiting-no-autoscaling", 60, False),
    ("waiting-autoscaling", None, False),
    ("overload", None, True),
    ("overload-busy", None, True),
    ("crowd", None, True),
]
ON_CLUSTER = ["no-autoscaling", "autoscaling", "waiting-no-autoscaling", "waiting-autoscaling", "autoscaling-hpa"]
INGRESS = "127.0.0.1:18087"


def start(state):
    """Starts weir with the project's own models and waits until it answers."""
    log = (OUT / "weir.log").open("w")
    up = subprocess.Popen([WEIR, "--state", state, "up", "-f", ROOT / "knative", "--listen", "127.0.0.1:0"], stderr=log, stdout=log)
    limit = time.monotonic() + 60
    while subprocess.run([WEIR, "--state", state, "status"], capture_output=True).returncode:
        if up.poll() is not None or time.monotonic() > limit:
            sys.exit(f"weir did not start: {OUT / 'weir.log'}")
        time.sleep(0.2)
    return up


def start_cluster(state):
    """Starts a node with the router and pushes the images of the scenarios. Returns it and the options that send load to it."""
    node = Node(state, INGRESS)
    node.up()
    overlay = OUT / "overlay"
    subprocess.run([WEIR, "image", "push", "--to", node.registry, "--kustomize", overlay], check=True, stdout=subprocess.DEVNULL)
    node.kubectl("apply", "-k", overlay)
    node.kubectl("wait", "--for=condition=Ready", "service.serving.knative.dev/router", "--timeout=120s")
    return node, ["--on", "cluster", "--kubeconfig", node.config, "--address", INGRESS]


def milliseconds(x):
    return f"{x / 1000:.2f} s" if x >= 1000 else f"{x:.0f} ms" if x >= 10 else f"{x:.1f} ms"


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def show(run):
    """Prints a run as a table with a line for each stage, and its thresholds."""
    print("| stage | requests | answered/s | p50, p95, p99 | refused | refusals' p99, without connecting | connections | processors: sender, weir, models | weir MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    spans = {}
    for s in run["stages"]:
        spans.setdefault(s["name"], []).append((s["begin"], s["end"]))
    for s in run["summaries"]:
        if s["kind"] == "load":
            continue
        rows = [r for r in run["rows"] if s["kind"] == "run" or any(b < r["t"] <= e for b, e in spans.get(s["name"], []))]
        latencies, engines = s["latencies"], [r["engine"] for r in rows if r.get("engine")]
        models = mean(sum(x["cpu"] for x in (r["revisions"] or {}).values()) for r in rows)
        print("|", " | ".join([
            s["name"] or "all", f"{s['requests']:,}", f"{s['goodput']:.1f}", ", ".join(milliseconds(latencies[p]) for p in ("p50", "p95", "p99")) if s["ok"] else "-",
            f"{s['refused']:,} ({100 * s['refused'] / max(1, s['requests']):.1f} %)" + (f", failed {s['failed']:,}" if s["failed"] else ""),
            f"{milliseconds(s['refusedP99'])}, {milliseconds(s['refusedAnswerP99'])}" if s["refused"] else "-", f"{s['opened']:,}",
            f"{mean(r['generator'] for r in rows):.2f}, {mean(e['cpu'] for e in engines):.2f}, {models:.2f}",
            f"{max((e['memory'] for e in engines), default=0):.0f}",
        ]), "|")
    print()
    for t in run["thresholds"]:
        value = t.get("missing") or f"{t['value']:.4g} {t.get('unit', '')}".strip()
        print(f"- {'holds' if t['holds'] else '**BROKEN**'}: `{t['text']}`, it was {value}")
    for n in run["notes"]:
        print("- note:", n)
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="scenarios to run instead of all")
    parser.add_argument("--short", action="store_true", help="only those of the short form")
    parser.add_argument("--cluster", action="store_true", help="on a node of its own, which takes root")
    args = parser.parse_args()
    stretched = {name: seconds for name, seconds, _ in SCENARIOS}
    chosen = args.names or (ON_CLUSTER if args.cluster else [n for n, _, short in SCENARIOS if short or not args.short])
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-") as state:
        if args.cluster:
            node, options = start_cluster(state)
            try:
                broken = run_all({n: None for n in chosen}, options, "cluster-")
            finally:
                node.down()
        else:
            up = start(state)
            try:
                broken = run_all({n: stretched.get(n) for n in chosen}, ["--state", state], "")
            finally:
                up.terminate()
                up.wait()
    print(f"{time.monotonic() - began:.0f} s; reports: {OUT}")
    if broken:
        sys.exit("broken thresholds: " + "; ".join(broken))


def run_all(chosen, options, prefix):
    """Runs scenarios, each in so many seconds or in its own, prints their figures, keeps their pictures, and returns the broken thresholds."""
    broken = []
    for name, seconds in chosen.items():
        print(f"## {name}\n", flush=True)
        command = [WEIR, "load", ROOT / "loadtest" / "scenarios" / f"{name}.yaml", "--out", OUT / name, *options]
        done = subprocess.run(command + (["--for", f"{seconds}s"] if seconds else []), capture_output=True, text=True)
        if not (OUT / name / "run.json").exists():
            sys.exit(f"{name}: {done.stderr}")
        run = json.loads((OUT / name / "run.json").read_text())
        show(run)
        broken += [f"{name}: {t['text']}" for t in run["thresholds"] if not t["holds"]]
        if name != "first":
            shutil.copy(OUT / name / "charts.png", ROOT / "loadtest" / "pictures" / f"{prefix}{name}.png")
    return broken


if __name__ == "__main__":
    main()
