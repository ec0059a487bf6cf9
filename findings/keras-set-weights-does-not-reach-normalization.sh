#!/usr/bin/env bash
# Keras 3.15.1 with TensorFlow 2.21.0, seen 2026-11-27.
#
# A clone (clone_model, then set_weights with the original's get_weights) of an adapted Normalization
# holds the right weights and computes with mean 0 and variance 1: set_weights fills the weights, and
# the layer divides by copies of them that only adapt and the loading of a file refresh. No warning.
# The clone, saved and loaded again, predicts something else than it did before.
# What helps: finalize_state() on each Normalization before the first predict (which keeps what it saw),
# or save_weights and load_weights.
#
# Output seen:
#     original: 1 1
#     clone: 2 30
#     clone's weights equal the original's: True
#     clone, saved and loaded: 1 1
#     clone after finalize_state: 1 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 2>/dev/null
cat >"$work/clone.py" <<'PYTHON'
import sys

import keras
import numpy as np

original = keras.Sequential([keras.Input((2,)), keras.layers.Normalization()])
original.layers[0].adapt(np.array([[0.0, 10.0], [2.0, 30.0]]))
clone = keras.models.clone_model(original)
clone.set_weights(original.get_weights())
pairs = zip(original.get_weights(), clone.get_weights(), strict=True)


def predict(model):
    """Return what the model gives for one row, rounded."""
    row = model(np.array([[2.0, 30.0]])).numpy()[0]
    return " ".join(f"{value:.0f}" for value in row)


print("original:", predict(original))
print("clone:", predict(clone))
print("clone's weights equal the original's:", all(np.array_equal(a, b) for a, b in pairs))
clone.save(sys.argv[1])
print("clone, saved and loaded:", predict(keras.saving.load_model(sys.argv[1])))
clone.layers[0].finalize_state()
print("clone after finalize_state:", predict(clone))
PYTHON
seen=$(HOME="$work" CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" \
    "$work/clone.py" "$work/clone.keras" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "original: 1 1
clone: 2 30
clone's weights equal the original's: True
clone, saved and loaded: 1 1
clone after finalize_state: 1 1" ]
