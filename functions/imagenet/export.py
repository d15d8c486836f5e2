"""imagenet: ImageNet classification. Version 1 is EfficientNet-Lite0 at 224 px, version 2 Lite2 at 260 px.

labels.txt has the 1,000 class names in the order of the weights; they are those of torchvision 0.21 (BSD-3-Clause)."""

from __future__ import annotations

from pathlib import Path

from functions.export import classifier
from functions.export.efficientnet import LITE0, LITE2, Variant

VERSIONS = {1: LITE0, 2: LITE2}


def export(folder: Path, variant: Variant) -> None:
    """Writes the SavedModel and checks it."""
    import tensorflow as tf

    from functions.export import frozen, saved_model

    model = classifier.keras_model(variant)
    size = variant.size

    def probabilities(images):
        return {"probabilities": model(images, training=False)["probabilities"]}

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, "images")])
    def serving_default(images):
        return probabilities(images)

    signatures = {"serving_default": serving_default, "image_bytes": saved_model.image_signature(size, probabilities)}
    frozen.write(folder, signatures)
    classifier.check(
        variant,
        floats=lambda x: saved_model.call(folder, "serving_default", images=x)["probabilities"],
        images=lambda b: saved_model.call(folder, "image_bytes", image_bytes=b)["probabilities"],
        features=False,
    )
    labels = (Path(__file__).parent / "labels.txt").read_text().splitlines()
    if len(labels) != 1000:
        raise SystemExit(f"labels.txt has {len(labels)} lines, expected 1000")
    classifier.check_labels(variant, labels)


def reference(folder: Path, variant: Variant) -> None:
    """Writes what the independent forward pass gives."""
    classifier.write_reference(folder, variant, features=False)
