#!/usr/bin/env bash
# Keras 3.15.1 and tf_keras 2.21.0 (Keras 2) with TensorFlow 2.21.0, seen 2026-11-27.
#
# Keras 3 reads .h5 files of Keras 2, but not if they hold a transposed, depthwise or separable
# convolution: Keras 2 writes `groups` into each convolution, also where it can only be 1, these layers
# of Keras 3 do not know it, and the whole file is refused. Decoders of pictures are of this kind. What
# helps: take `groups` out of model_config, an attribute of the file; the values stay the same.
#
# Output seen:
#     Conv2D: read, values equal
#     Conv2DTranspose: TypeError, unknown argument groups
#     Conv2DTranspose without groups: read, values equal
#     DepthwiseConv2D: TypeError, unknown argument groups
#     SeparableConv2D: TypeError, unknown argument groups
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    tensorflow==2.21.0 keras==3.15.1 tf_keras==2.21.0 numpy==2.4.6 2>/dev/null
cat >"$work/write.py" <<'PYTHON'
import sys

import numpy as np
import tf_keras
from tf_keras import layers

x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
for name in ("Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D"):
    sizes = {} if name == "DepthwiseConv2D" else {"filters": 2}
    layer = getattr(layers, name)(kernel_size=3, name="layer", **sizes)
    model = tf_keras.Sequential([tf_keras.Input((4, 4, 1)), layer])
    model.save(f"{sys.argv[1]}/{name}.h5")
    np.save(f"{sys.argv[1]}/{name}.npy", model(x))
PYTHON
cat >"$work/read.py" <<'PYTHON'
import sys

import h5py
import keras
import numpy as np

x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)


def read(name, what):
    """Print whether Keras 3 reads a file, or which options it does not know."""
    try:
        values = keras.saving.load_model(f"{sys.argv[1]}/{name}.h5", compile=False)(x)
    except (TypeError, ValueError) as error:
        unknown = "groups" if "{'groups': 1" in str(error) else "something else"
        print(f"{what}: {type(error).__name__}, unknown argument {unknown}")
    else:
        equal = np.allclose(values, np.load(f"{sys.argv[1]}/{name}.npy"), rtol=1e-5, atol=1e-5)
        print(f"{what}: read, values {'equal' if equal else 'differ'}")


read("Conv2D", "Conv2D")
read("Conv2DTranspose", "Conv2DTranspose")
with h5py.File(f"{sys.argv[1]}/Conv2DTranspose.h5", "r+") as file:
    file.attrs["model_config"] = file.attrs["model_config"].replace('"groups": 1, ', "")
read("Conv2DTranspose", "Conv2DTranspose without groups")
read("DepthwiseConv2D", "DepthwiseConv2D")
read("SeparableConv2D", "SeparableConv2D")
PYTHON
run() { HOME="$work" CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" "$@" 2>"$work/log"; }
TF_USE_LEGACY_KERAS=1 run "$work/write.py" "$work" || { cat "$work/log" >&2; exit 1; }
seen=$(run "$work/read.py" "$work") || { cat "$work/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "Conv2D: read, values equal
Conv2DTranspose: TypeError, unknown argument groups
Conv2DTranspose without groups: read, values equal
DepthwiseConv2D: TypeError, unknown argument groups
SeparableConv2D: TypeError, unknown argument groups" ]
