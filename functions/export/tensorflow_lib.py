"""Where Go finds TensorFlow's C library: links into the Python wheel, and the Go settings that name them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def build(out: Path) -> None:
    """Makes out/tensorflow/{lib,include} and out/go.env. It takes a moment and is done each time."""
    spec = find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise SystemExit("TensorFlow is missing: make setup")
    wheel = Path(spec.origin).parent
    lib = out / "tensorflow" / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    for name, target in libraries(wheel).items():
        link(lib / name, target)
    link(out / "tensorflow" / "include", wheel / "include")
    write_if_changed(out / "go.env", go_env(out.resolve()))


def libraries(wheel: Path) -> dict[str, Path]:
    """The names that the linker and the loader look for, and the wheel's files."""
    found = {}
    for part in ("cc", "framework"):
        name = f"libtensorflow_{part}.2.dylib" if sys.platform == "darwin" else f"libtensorflow_{part}.so.2"
        suffix = "dylib" if sys.platform == "darwin" else "so"
        file = wheel / name
        if not file.exists():
            raise SystemExit(f"{file} is missing: the TensorFlow wheel has another layout than expected")
        found[name] = file
        found[f"libtensorflow.{suffix}" if part == "cc" else f"libtensorflow_framework.{suffix}"] = file
    return found


def link(name: Path, target: Path) -> None:
    """A relative symbolic link, so that the checkout can be moved; one that is right stays."""
    relative = os.path.relpath(target, name.parent)
    if name.is_symlink() and os.readlink(name) == relative:
        return
    name.unlink(missing_ok=True)
    name.symlink_to(relative)


def go_env(out: Path) -> str:
    """The user's own Go settings with the cgo flags for TensorFlow."""
    environment = {k: v for k, v in os.environ.items() if k != "GOENV"}
    own = Path(subprocess.run(["go", "env", "GOENV"], env=environment, check=True, capture_output=True, text=True).stdout.strip())
    lines = own.read_text().splitlines() if own.is_file() else []
    lines = [line for line in lines if not line.startswith(("CGO_CFLAGS=", "CGO_LDFLAGS="))]
    lib = out / "tensorflow" / "lib"
    lines += [
        f"CGO_CFLAGS=-O2 -I{out}/tensorflow/include",
        f"CGO_LDFLAGS=-O2 -L{lib} -ltensorflow_framework -Wl,-rpath,{lib}",
    ]
    return "\n".join(lines) + "\n"


def write_if_changed(file: Path, text: str) -> None:
    """Writes a file unless it says this already: its time is part of nobody's build then."""
    if not (file.exists() and file.read_text() == text):
        file.write_text(text)
