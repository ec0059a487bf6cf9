#!/usr/bin/env bash
# TensorFlow 2.21.0, seen 2026-11-28.
#
# A process makes a MirroredStrategy, adds up a tensor over its replicas, and later makes another
# one, for another model. The second strategy numbers its sums from the start again, so TensorFlow
# takes its first sum for the first of the other strategy, and finds another shape. What helps: keep
# one strategy for each set of devices. With the same shape there is no error.
#
# Output seen:
#     first strategy: 2, 2, 2
#     second strategy: InvalidArgumentError: Shape mismatch in the collective instance
#     first strategy again: 2, 2, 2, 2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check tensorflow==2.21.0 2>/dev/null
cat >"$work/sums.py" <<'PYTHON'
import sys

import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def total(strategy, size):
    """Return the sum of ones over both replicas, or the error."""

    @tf.function
    def run():
        def on_replica():
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.ones(size))

        return strategy.experimental_local_results(strategy.run(on_replica))[0]

    try:
        return ", ".join(f"{value:g}" for value in run().numpy())
    except tf.errors.InvalidArgumentError as error:
        words = "Shape mismatch in the collective instance"
        return f"InvalidArgumentError: {words if words in str(error) else error}"


print("first strategy:", total(strategy, 3))
if sys.argv[1] == "second":
    second = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    print("second strategy:", total(second, 4))
else:
    print("first strategy again:", total(strategy, 4))
PYTHON
seen=$(for which in second first; do
    CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" "$work/sums.py" $which 2>>"$work/log" \
        || { cat "$work/log" >&2; exit 1; }
done | awk '!known[$0]++')
echo "$seen"
[ "$seen" = "first strategy: 2, 2, 2
second strategy: InvalidArgumentError: Shape mismatch in the collective instance
first strategy again: 2, 2, 2, 2" ]
