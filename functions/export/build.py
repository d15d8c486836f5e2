"""Builds what weir is run and tested with: the TensorFlow library's links, SavedModels, sample photos and references.

What is up to date is left alone; an interrupt leaves nothing half done."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # else what is made depends on the processor: see functions/tensorflow/onednn.go

from functions.export import cache, samples, tensorflow_lib  # noqa: E402

MODELS = ("digits", "imagenet", "embed")
FIXTURES = ("half_plus_two", "dtypes", "images_only")

EXAMPLES = """examples:
  python functions/export/build.py                   build what is missing or out of date
  python functions/export/build.py --only imagenet   one of them: digits, imagenet, embed, samples, fixtures
"""


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder to build in (default: build)")
    parser.add_argument("--only", action="append", choices=[*MODELS, "samples", "fixtures"], help="build this; may be given again")
    args = parser.parse_args(argv)
    wanted = args.only or [*MODELS, "samples", "fixtures"]
    tensorflow_lib.build(args.out)
    quiet(args.out / "export.log")
    here = ROOT / "functions" / "export"
    tests = {here / "conftest.py", *here.glob("*_test.py")}
    shared = [here / "requirements.txt", *(f for f in here.glob("*.py") if f not in tests)]
    if "samples" in wanted:
        step("sample photos", args.out / "samples", shared, samples.build)
        samples.publish(args.out / "samples", ROOT / "router" / "web" / "samples")
    for name in MODELS:
        if name in wanted:
            build_model(args.out, name, [*shared, ROOT / "functions" / name / "export.py"])
    if "fixtures" in wanted:
        for name in FIXTURES:
            step(f"test model {name}", args.out / "fixtures" / name / "1", shared, lambda d, n=name: fixture(d, n))


def quiet(log: Path) -> None:
    """Sends what TensorFlow's C++ says to a file, as no setting silences all of it; Python's own errors are still shown."""
    shown = os.dup(2)
    with log.open("w") as f:
        os.dup2(f.fileno(), 2)
    sys.stderr = os.fdopen(shown, "w", buffering=1)


def build_model(out: Path, name: str, inputs: list[Path]) -> None:
    """A model's versions, and what the independent forward pass says of each."""
    definition = importlib.import_module(f"functions.{name}.export")
    for version, variant in definition.VERSIONS.items():
        step(f"model {name}/{version}", out / "models" / name / str(version), inputs, lambda d, v=variant: definition.export(d, v))
        step(f"reference {name}/{version}", out / "reference" / name / str(version), inputs, lambda d, v=variant: definition.reference(d, v))


def fixture(folder: Path, name: str) -> None:
    """One test model. TensorFlow is imported only when there is something to build."""
    from functions.export.fixtures import FIXTURES as makers

    makers[name](folder)


def step(what: str, folder: Path, inputs: list[Path], make: Callable[[Path], None]) -> None:
    """Builds a folder if its inputs have changed, and says so."""
    digest = cache.digest(inputs)
    if cache.up_to_date(folder, digest):
        return
    print(f"    {what} …", end="", flush=True)
    start = time.monotonic()
    cache.build(folder, digest, make)
    print(f" {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; what was whole is kept")
