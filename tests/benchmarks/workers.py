"""Steps per second on two workers of one processor each, beside one worker of one and of two.

    python tests/benchmarks/workers.py [--presets dense,conv,deep] [--rounds 5] [--json FILE]

Each contender trains the preset on the embedded digits in processes of their own, which may use
only their processors. A round is one block of steps (64 for the dense presets); the first one
compiles and is not counted, the best of the others is reported. The sum over the workers alone is
timed in the same processes, with a vector of the same length, so its share of a step does not
include waiting for the slower worker. Run nothing else on the machine.

The last table is computed: what a network of 10 Gbit/s allows. In a ring of n workers each sends
2 (n - 1) / n of the gradients in a step, 4 bytes for each weight. "Half" is the number of samples
that a worker needs in a batch so that the network takes no longer than its computing, at the
measured speed of one processor.

Results are kept in FILE after each preset; what it has already is not measured again. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

PRESETS = ("dense", "conv", "deep")
NETWORK = 10e9 / 8
"""Bytes per second of 10 Gbit/s."""
CONTENDERS = {"1 worker, 1 core": [[0]], "1 worker, 2 cores": [[0, 1]], "2 workers": [[0], [1]]}
"""Processors of each worker."""


def measure(preset: str, rounds: int, addresses: list[str], index: int) -> dict[str, float]:
    """Time training in this process, as one worker of those that have the addresses."""
    from vae_builder import TrainConfig, load_dataset
    from vae_builder.training.loop import Trainer
    from vae_builder.training.steps import read_blocks
    from vae_builder.workers.cluster import Cluster
    from vae_builder.workers.meeting import Meeting
    from vae_builder.workers.replicas import ONE
    from vae_builder.workers.strategy import multi_worker

    replicas = ONE
    if len(addresses) > 1:
        cluster = Cluster(tuple(addresses), index)
        with Meeting(cluster, 300.0) as meeting:
            meeting.exchange(None)
        replicas = multi_worker(cluster)
    dataset = load_dataset("digits")
    config = TrainConfig(preset).for_samples(len(dataset.train))
    trainer = Trainer(dataset, config, None, None, replicas)
    order = __import__("numpy").arange(len(dataset.train))
    block = next(read_blocks(order, dataset.train, config.batch_size, 0, trainer.rows))
    weights = sum(int(w.numpy().size) for w in trainer.vae.trainable_variables)
    seconds = best(lambda: trainer.run_block(block), rounds)
    found = {"ms": 1e3 * seconds / len(block), "weights": weights, "batch": config.batch_size}
    if replicas is not ONE:
        found["sum ms"] = 1e3 * best(sums(replicas, weights + 3, len(block)), rounds) / len(block)
    return found


def sums(replicas: Any, length: int, count: int) -> Any:
    """Return a function that adds up a vector over all replicas, `count` times in one call."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def run(values: Any) -> Any:
        def step(i: Any, values: Any) -> tuple[Any, Any]:
            return i + 1, replicas.run(lambda place: 0.5 * replicas.total(tf.identity(values)))

        return tf.while_loop(lambda i, _: i < count, step, (0, values), parallel_iterations=1)[1]

    return lambda: run(tf.ones(length)).numpy()


def best(action: Any, rounds: int) -> float:
    """Return the seconds of the best call, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def run(preset: str, rounds: int, processors: list[list[int]]) -> dict[str, float]:
    """Return what worker 0 measured."""
    from worker_processes import free_ports

    addresses = [f"localhost:{port}" for port in free_ports(len(processors))]
    children = [
        subprocess.Popen(
            [sys.executable, __file__, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in processors
    ]
    for index, (child, own) in enumerate(zip(children, processors, strict=True)):
        json.dump([own, preset, rounds, addresses, index], child.stdin)
        child.stdin.close()
    outputs = [child.stdout.read() for child in children]
    assert not any(child.wait() for child in children), "a worker has failed"
    return json.loads(outputs[0].splitlines()[-1])


def child() -> None:
    own, *arguments = json.load(sys.stdin)
    os.sched_setaffinity(0, own)  # before TensorFlow counts the processors
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    print(json.dumps(measure(*arguments)))


def report(found: dict[str, dict[str, dict[str, float]]]) -> None:
    print(f"{'':8} {'batch':>5} {'weights':>9}  steps/s: {'  '.join(CONTENDERS)}   sum, share")
    for preset, of in found.items():
        both = of["2 workers"]
        speeds = "  ".join(f"{1e3 / of[name]['ms']:{len(name)}.0f}" for name in CONTENDERS)
        share = both["sum ms"] / both["ms"]
        print(
            f"{preset:8} {both['batch']:5} {both['weights']:9,}           {speeds}   "
            f"{both['sum ms']:.1f} ms {share:.0%}"
        )
    print("\n10 Gbit/s, on paper: ms of the network in a step; at most steps/s; half")
    for preset, of in found.items():
        weights, one = of["2 workers"]["weights"], of["1 worker, 1 core"]
        line = f"{preset:8}"
        for workers in (2, 8):
            seconds = 2 * (workers - 1) / workers * 4 * weights / NETWORK
            half = 1e3 * seconds / (one["ms"] / one["batch"])
            line += f"   {workers} workers {1e3 * seconds:5.2f} ms {1 / seconds:6.0f} {half:5.0f}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child()
    kept = options.json and options.json.exists()
    found = json.loads(options.json.read_text()) if kept else {}
    for preset in options.presets.split(","):
        if preset not in found:
            found[preset] = {
                name: run(preset, options.rounds, own) for name, own in CONTENDERS.items()
            }
            if options.json:
                options.json.write_text(json.dumps(found, indent=2))
    return report(found)


if __name__ == "__main__":
    main()
