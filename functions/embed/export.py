"""embed: an image's features, the 1,280 numbers before EfficientNet-Lite0's classifier. It takes only floats: the
function puts a preprocessing graph of its own in front."""

from __future__ import annotations

from pathlib import Path

from functions.export import classifier
from functions.export.efficientnet import LITE0, Variant

VERSIONS = {1: LITE0}


def export(folder: Path, variant: Variant) -> None:
    """Writes the SavedModel and checks it."""
    import keras
    import tensorflow as tf

    from functions.export import frozen, saved_model

    whole = classifier.keras_model(variant)
    # Without the classifier, which would only take room.
    model = keras.Model(whole.input, whole.get_layer("features").output)

    @tf.function(input_signature=[tf.TensorSpec([None, variant.size, variant.size, 3], tf.float32, "images")])
    def serving_default(images):
        return {"embedding": model(images, training=False)}

    frozen.write(folder, {"serving_default": serving_default})
    classifier.check(
        variant,
        floats=lambda x: saved_model.call(folder, "serving_default", images=x)["embedding"],
        images=None,
        features=True,
    )


def reference(folder: Path, variant: Variant) -> None:
    """Writes what the independent forward pass gives."""
    classifier.write_reference(folder, variant, features=True)
