"""Reads trained weights, builds Keras models and writes the SavedModels, samples and references that weir is run and
tested with. `build.py` is the way in; each model's own `export.py` says what it is."""
