"""The sample photos: from the packages of scikit-image and scikit-learn, with their licences."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PUBLIC = "CC0 / public domain"
CC_BY = "CC BY 2.0"


class Sample(NamedTuple):
    """A photo: its file, a title, the classes that a person would accept (none if models differ), licence and source."""

    package: str
    file: str
    title: str
    expected: tuple[str, ...]
    licence: str
    source: str


SAMPLES = (
    Sample("skimage/data", "chelsea.png", "Chelsea the cat", ("tiger cat", "tabby", "Egyptian cat"), PUBLIC, "Stefan van der Walt, by scikit-image"),
    Sample("skimage/data", "coffee.png", "A cup of espresso", ("espresso",), PUBLIC, "Rachel Michetti, by scikit-image"),
    Sample("skimage/data", "motorcycle_left.png", "A motorcycle", ("moped", "motor scooter"), "Middlebury Stereo 2014, for research",
           "Scharstein et al., GCPR 2014, by scikit-image"),
    Sample("sklearn/datasets/images", "china.jpg", "A pagoda", ("palace",), CC_BY,
           "flickr.com/photos/danielbuechele/6061409035, by scikit-learn"),
    Sample("sklearn/datasets/images", "flower.jpg", "A flower", (), CC_BY,
           "flickr.com/photos/vultilion/6056698931, by scikit-learn"),
    Sample("skimage/data", "rocket.jpg", "A rocket's launch", (), PUBLIC, "SpaceX, by scikit-image"),
    Sample("skimage/data", "astronaut.png", "Eileen Collins", (), PUBLIC, "NASA, by scikit-image"),
)


def path(sample: Sample) -> Path:
    """Where the package has the photo."""
    package, *folders = sample.package.split("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the Python package {package} is missing: make setup")
    return Path(spec.origin).parent.joinpath(*folders, sample.file)


def build(folder: Path) -> None:
    """Copies the photos and writes samples.json."""
    for sample in SAMPLES:
        shutil.copyfile(path(sample), folder / sample.file)
    listed = [
        {"file": s.file, "title": s.title, "expected": next(iter(s.expected), ""), "licence": s.licence, "source": s.source}
        for s in SAMPLES
    ]
    (folder / "samples.json").write_text(json.dumps(listed, indent=1) + "\n")


def publish(built: Path, web: Path) -> None:
    """Copies what was built to where the front end embeds it; files that are the same stay untouched."""
    for file in built.iterdir():
        to = web / file.name
        if not file.name.startswith(".") and not (to.exists() and to.read_bytes() == file.read_bytes()):
            shutil.copyfile(file, to)
