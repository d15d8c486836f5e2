"""weir's function beside other servers: the same SavedModel, one replica, the same load, one table.

    python3 loadtest/peers/run.py                            all of them, digits
    python3 loadtest/peers/run.py --only weir --only kserve
    python3 loadtest/peers/run.py --model imagenet           224x224x3 floats as JSON
    python3 loadtest/peers/run.py --model imagenet --input jpeg    a photo in base64, its five best classes back

Each server gets a virtual environment of its own below build/peers (a few hundred MB each, made when it is missing). The
load is hey's closed loop on the same cores. It is not part of the tests."""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VENVS = ROOT / "build" / "peers"
TENSORFLOW = "tensorflow-cpu==2.21.0"
CALLERS = (1, 8, 32)


@dataclass(frozen=True)
class Peer:
    """How a server is installed, started and asked. V2 says that it takes the Open Inference Protocol's JSON."""

    packages: tuple[str, ...]
    command: tuple[str, ...]
    path: str
    v2: bool = False


PEERS = {
    "weir": Peer((), (), "/v1/models/{model}:predict"),
    "triton": Peer(("nvidia-pytriton==0.7.0",), ("python", "triton_server.py"), "/v2/models/{model}/infer", v2=True),
    "mlserver": Peer(("mlserver==1.7.1", "uvloop==0.21.0"), ("python", "mlserver_server.py"), "/v2/models/{model}/infer", v2=True),
    "kserve": Peer(("kserve==0.21.0",), ("python", "kserve_server.py"), "/v1/models/{model}:predict"),
    "bentoml": Peer(("bentoml==1.4.39",), ("bentoml", "serve", "bentoml_server:Service", "--host", "127.0.0.1", "--port", "{port}"), "/predict"),
    "litserve": Peer(("litserve==0.2.19",), ("python", "litserve_server.py"), "/predict"),
    "ray": Peer(("ray[serve]==2.60.0",), ("python", "ray_server.py"), "/predict"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PEERS, help="this server; may be given again")
    parser.add_argument("--model", choices=("digits", "imagenet"), default="digits")
    parser.add_argument("--input", choices=("json", "jpeg"), default="json", help="numbers, or a photo in base64")
    parser.add_argument("--seconds", type=int, default=4, help="of load at each number of callers")
    args = parser.parse_args()
    if args.input == "jpeg" and args.model != "imagenet":
        parser.error("--input jpeg is for --model imagenet")
    rows = []
    for name in args.only or PEERS:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows.append(measure(name, PEERS[name], args))
    print(f"| server | {args.model} {args.input}, predictions/s at c=" + " / ".join(map(str, CALLERS)) + " | resident MB | cold start s |")
    print("| --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def measure(name: str, peer: Peer, args: argparse.Namespace) -> tuple[str, ...]:
    """One server's line of the table."""
    port, model = free_port(), args.model
    body, url = request_body(model, args.input, peer.v2), f"http://127.0.0.1:{port}" + peer.path.format(model=model)
    env = os.environ | {
        "MODEL": model, "MODEL_DIR": str(ROOT / "build" / "models" / model / "1"), "PORT": str(port), "K_SERVICE": model, "MODEL_INPUT": args.input,
        "TF_CPP_MIN_LOG_LEVEL": "3", "LOG_LEVEL": "warn", "PYTHONPATH": str(HERE),
        # Triton's Python backend loads the interpreter as a library.
        "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR"),
    }
    command, folder = start_command(name, peer, model, port), tempfile.mkdtemp()
    with tempfile.NamedTemporaryFile(mode="w", suffix=".json") as data, open(Path(folder) / "log", "wb") as log:
        data.write(body)
        data.flush()
        begun = time.monotonic()
        process = subprocess.Popen(command, env=env, cwd=HERE, stdout=log, stderr=log, start_new_session=True)
        try:
            await_answer(url, body, process, log.name)
            cold = time.monotonic() - begun
            hey(url, data.name, 8, 2)
            rates = [hey(url, data.name, c, args.seconds) for c in CALLERS]
            memory = resident(process.pid)
        finally:
            end(process)
    return name, " / ".join(f"{r:.0f}" for r in rates), f"{memory:.0f}", f"{cold:.1f}"


def end(process: subprocess.Popen) -> None:
    """Ends a server with all that it started."""
    for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            pass
    process.wait()


def start_command(name: str, peer: Peer, model: str, port: int) -> list[str]:
    if name == "weir":
        return [str(ROOT / "bin" / "functions" / model), "--model", str(ROOT / "build" / "models" / model / "1")]
    venv = VENVS / name
    if not (venv / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", TENSORFLOW, *peer.packages], check=True)
        (venv / ".ready").touch()
    program, *rest = (word.format(port=port) for word in peer.command)
    return [str(venv / "bin" / program), *rest]


def request_body(model: str, kind: str, v2: bool) -> str:
    if kind == "jpeg":
        photo = base64.b64encode((ROOT / "build" / "samples" / "china.jpg").read_bytes()).decode()
        if v2:
            return json.dumps({"inputs": [{"name": "image_bytes", "shape": [1, 1], "datatype": "BYTES", "data": [photo]}]})
        return json.dumps({"signature_name": "image_bytes", "instances": [{"b64": photo}]})
    shape = {"digits": (8, 8, 1), "imagenet": (224, 224, 3)}[model]
    count = shape[0] * shape[1] * shape[2]
    flat = [round((i % 997) / 498.5 - 1, 7) for i in range(count)]
    if v2:
        return json.dumps({"inputs": [{"name": "images", "shape": [1, *shape], "datatype": "FP32", "data": flat}]})
    rows = [[flat[(y * shape[1] + x) * shape[2]:][: shape[2]] for x in range(shape[1])] for y in range(shape[0])]
    return json.dumps({"instances": [rows]})


def await_answer(url: str, body: str, process: subprocess.Popen, log: str) -> None:
    """Returns when a prediction succeeds."""
    for _ in range(12_000):
        if process.poll() is not None:
            raise SystemExit(f"the server ended: {Path(log).read_text()[-2000:]}")
        try:
            request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=30).read()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"no answer from {url}: {Path(log).read_text()[-2000:]}")


def hey(url: str, data: str, callers: int, seconds: int) -> float:
    """Requests answered 200 in a second."""
    command = ["go", "tool", "hey", "-z", f"{seconds}s", "-c", str(callers), "-m", "POST", "-T", "application/json", "-D", data, url]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    answered = {int(s): int(n) for s, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", out)}
    if set(answered) != {200}:
        raise SystemExit(f"{url} answered {answered}")
    return answered[200] / float(re.search(r"Total:\s+([\d.]+) secs", out)[1])


def resident(root: int) -> float:
    """MB of a process and of all that it started; what several share is counted once."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    total = 0
    for pid in parents:
        above = pid
        while above not in (root, 0):
            above = parents.get(above, 0)
        if above == root:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)[1]) * 1024
    return total / 1e6


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


if __name__ == "__main__":
    main()
