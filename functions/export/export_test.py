"""Tests of what the set-up must not get wrong: reading weights safely, caching, and the preprocessing that models share."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from functions.export import build, cache, efficientnet, reference, samples, tensorflow_lib, weights

BUILD = build.ROOT / "build"


def legacy_file(path: Path, tensors: bytes, *after: bytes) -> Path:
    """A .pth file of the legacy form with a dictionary of our own."""
    head = [pickle.dumps(v, 2) for v in (weights.MAGIC, 1001, {})]
    path.write_bytes(b"".join([*head, tensors, *after]))
    return path


class Evil:
    """Runs a function of the file's choosing if it is unpickled in good faith."""

    def __reduce__(self):
        return (print, ("run",))


def test_weights_run_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = legacy_file(tmp_path / "evil.pth", pickle.dumps({"a": Evil()}, 2))
    with pytest.raises(pickle.UnpicklingError, match="print is not needed"):
        weights.read(file)
    assert capsys.readouterr().out == ""


def test_weights_refuse_other_files(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(pickle.dumps(7))
    with pytest.raises(ValueError, match="no PyTorch file"):
        weights.read(file)


def test_weights_that_are_cut_short(tmp_path: Path) -> None:
    whole = weights.efficientnet_lite(0).read_bytes()
    file = tmp_path / "cut.pth"
    file.write_bytes(whole[:-4])
    with pytest.raises(ValueError, match="cut short"):
        weights.read(file)


@pytest.mark.parametrize(("variant", "count"), [(efficientnet.LITE0, 16), (efficientnet.LITE2, 21)])
def test_blocks_fit_the_weights(variant: efficientnet.Variant, count: int) -> None:
    w = weights.read(weights.efficientnet_lite(variant.number))
    blocks = efficientnet.blocks(variant)
    assert len(blocks) == count
    for i, block in enumerate(blocks):
        assert w[f"_blocks.{i}._project_conv.weight"].shape[0] == block.outputs
        assert w[f"_blocks.{i}._depthwise_conv.weight"].shape[2] == block.kernel


def test_cache_skips_what_is_up_to_date(tmp_path: Path) -> None:
    source, folder, made = tmp_path / "source.py", tmp_path / "out" / "1", []
    source.write_text("one")
    make = lambda d: (made.append(1), (d / "file").write_text("x"))  # noqa: E731
    for text in ("one", "one", "two"):
        source.write_text(text)
        build.step("it", folder, [source], make)
    assert len(made) == 2 and (folder / "file").exists()


def test_an_interrupt_leaves_the_old(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    cache.build(folder, "old", lambda d: (d / "file").write_text("old"))

    def broken(d: Path) -> None:
        (d / "file").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.build(folder, "new", broken)
    assert (folder / "file").read_text() == "old" and cache.up_to_date(folder, "old")
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_the_reference_equals_a_plain_loop() -> None:
    """The numpy convolution against one written out, strided and with SAME padding on an even side."""
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(6, 6, 2)), rng.normal(size=(3, 2, 3, 3))
    got = reference._convolve(x, kernel, 2)
    padded = np.pad(x, ((0, 1), (0, 1), (0, 0)))
    for r in range(3):
        for c in range(3):
            want = np.einsum("hwi,oihw->o", padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3], kernel)
            np.testing.assert_allclose(got[r, c], want, atol=1e-12)


@pytest.mark.parametrize(("name", "version"), [("imagenet", 1), ("imagenet", 2), ("embed", 1)])
def test_every_sample_has_a_reference(name: str, version: int) -> None:
    folder = BUILD / "reference" / name / str(version)
    listed = json.loads((folder / "reference.json").read_text())["samples"]
    assert set(listed) == {s.file for s in samples.SAMPLES}
    for entry in listed.values():
        assert np.fromfile(folder / entry["output"], "<f4").size == (1280 if name == "embed" else 1000)


@pytest.mark.parametrize(("name", "version"), [("imagenet", 1), ("imagenet", 2), ("embed", 1)])
def test_image_models_are_ready_to_run(name: str, version: int) -> None:
    """Nothing is left to optimise when they are loaded, and no copy of the graph has a weight in it."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = BUILD / "models" / name / str(version) / "saved_model.pb"
    graph = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0].graph_def
    ops = [n.op for n in graph.node]
    assert "_FusedConv2D" in ops and "_FusedDepthwiseConv2dNative" in ops
    assert not {"FusedBatchNormV3", "PartitionedCall", "StatefulPartitionedCall"} & set(ops)
    assert graph.ByteSize() < 1_000_000


def test_samples_name_their_licence() -> None:
    for entry in json.loads((BUILD / "samples" / "samples.json").read_text()):
        assert entry["licence"] and entry["source"] and (BUILD / "samples" / entry["file"]).exists()


def test_go_env_keeps_the_users_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "env"
    own.write_text("GOFLAGS=-mod=mod\nCGO_CFLAGS=-O0\n")
    fake = io.StringIO(str(own))
    monkeypatch.setattr(tensorflow_lib.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": fake.getvalue()}))
    text = tensorflow_lib.go_env(tmp_path)
    assert "GOFLAGS=-mod=mod" in text and "-O0" not in text and f"-I{tmp_path}/tensorflow/include" in text
