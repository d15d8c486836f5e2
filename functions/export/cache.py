"""What is built is kept until what it is made of changes: a stamp beside it holds a digest of its inputs."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

STAMP = ".inputs-sha256"


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the files' names and contents, in the order of their names."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def up_to_date(folder: Path, inputs: str) -> bool:
    """Whether the folder was built from these inputs."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == inputs


def build(folder: Path, inputs: str, make: Callable[[Path], None]) -> None:
    """Has `make` fill a new folder and puts it in place of `folder`: whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
        new = Path(work) / folder.name
        new.mkdir()
        make(new)
        (new / STAMP).write_text(inputs)
        if folder.exists():
            folder.rename(Path(work) / "old")
        new.rename(folder)


def remove(folder: Path) -> None:
    """Forgets a folder."""
    shutil.rmtree(folder, ignore_errors=True)
