#!/usr/bin/env bash
# TensorFlow 2.21.0 with Keras 3.15.1, seen 2026-11-27.
#
# A layer with noise keeps its seed as Keras documents it: a SeedGenerator in an attribute.
# tf.saved_model.save of the model then fails: the generator's state is "untracked", although it is an
# attribute of a layer that is tracked. The same layer with the state itself in one more attribute is
# saved. What helps: model.export, which writes the same format.
#
# Output seen:
#     tf.saved_model.save: AssertionError: references an 'untracked' resource
#     tf.saved_model.save with the state in an attribute too: written
#     model.export: written
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 2>/dev/null
cat >"$work/save.py" <<'PYTHON'
import sys

import keras
import tensorflow as tf


class Noise(keras.layers.Layer):
    """Add noise, as a sampling layer does."""

    def __init__(self, state_too=False):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)
        if state_too:
            self.state = self.seed_generator.state

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)


def model(**options):
    x = keras.Input((3,))
    return keras.Model(x, Noise(**options)(x))


def written(write):
    """Return "written", or the error."""
    try:
        write()
    except AssertionError as error:
        words = "references an 'untracked' resource"
        return f"AssertionError: {words if words in str(error) else error}"
    return "written"


folder = sys.argv[1]
plain, tracked = model(), model(state_too=True)
print("tf.saved_model.save:", written(lambda: tf.saved_model.save(plain, f"{folder}/a")))
print(
    "tf.saved_model.save with the state in an attribute too:",
    written(lambda: tf.saved_model.save(tracked, f"{folder}/b")),
)
print("model.export:", written(lambda: plain.export(f"{folder}/c", verbose=False)))
PYTHON
seen=$(HOME="$work" CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" \
    "$work/save.py" "$work" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "tf.saved_model.save: AssertionError: references an 'untracked' resource
tf.saved_model.save with the state in an attribute too: written
model.export: written" ]
