#!/usr/bin/env bash
# TensorFlow 2.21.0, seen 2026-11-28.
#
# The stateless random functions are documented to give the same numbers for the same seed on the
# same kind of device. With a negative number in the seed they give other numbers if XLA compiles
# them, on the same processor: the key that is derived from the seed differs
# (StatelessRandomGetKeyCounter). tf.random.split returns such seeds half of the time. With
# alg="philox" the key is derived in Python, and the numbers are the same.
#
# Output seen:
#     seed (5, 9): the same numbers, and the same split
#     seed (5, -9): other numbers, and another split
#     seed (5, -9) with alg="philox": the same numbers
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check tensorflow==2.21.0 2>/dev/null
cat >"$work/seeds.py" <<'PYTHON'
import tensorflow as tf


def same(function):
    """Return whether a function returns the same, compiled by XLA or not."""
    compiled = tf.function(function, jit_compile=True)
    return function().numpy().tolist() == compiled().numpy().tolist()


for seed in ((5, 9), (5, -9)):
    numbers = same(lambda: tf.random.stateless_uniform((4,), seed, None, None, tf.int32))
    split = same(lambda: tf.random.split(seed, 1))
    print(
        f"seed {seed}: {'the same' if numbers else 'other'} numbers, and "
        f"{'the same' if split else 'another'} split"
    )
numbers = same(
    lambda: tf.random.stateless_uniform((4,), (5, -9), None, None, tf.int32, alg="philox")
)
print(f'seed (5, -9) with alg="philox": {"the same" if numbers else "other"} numbers')
PYTHON
seen=$(CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" "$work/seeds.py" 2>"$work/log") \
    || { cat "$work/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = 'seed (5, 9): the same numbers, and the same split
seed (5, -9): other numbers, and another split
seed (5, -9) with alg="philox": the same numbers' ]
