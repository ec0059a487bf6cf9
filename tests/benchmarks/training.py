"""Time of one training epoch, compared with other libraries in one run on one machine.

    python tests/benchmarks/training.py [--samples 60000] [--epochs 3] [--json FILE]

The model is 784-512-20-512-784 with SiLU, batch size 128, Adam and bce, the size of Keras's own
example. Each contender runs in a separate process. Its first epoch compiles and is not counted; the
best of the following epochs is reported. `products` are the model's matrix products alone, forward
and backward, in TensorFlow. Run nothing else on the machine: other work slows the contenders to
different degrees.

Libraries that are not installed are left out (`pip install ".[peers]"`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH, HIDDEN, LATENT, PIXELS = 128, 512, 20, 784


def pixels(samples: int) -> np.ndarray:
    """Return `samples` images of the embedded digits, repeated as needed."""
    from vae_builder import load_array, load_dataset

    digits = np.concatenate([load_dataset("digits").train, load_array("digits")[..., None]])
    return np.resize(digits, (samples, 28, 28, 1))


def build_vae(x: np.ndarray, epochs: int) -> list[float]:
    """Train with this project; return the seconds of each epoch."""
    from vae_builder import Dataset, TrainConfig, train

    config = TrainConfig(hidden=(HIDDEN,), latent_dim=LATENT, batch_size=BATCH, epochs=epochs)
    held_out = x[:BATCH]  # small, so that validation takes no time
    dataset = Dataset.from_arrays("digits", x, validation=held_out, test=held_out)
    return [epoch.seconds for epoch in train(dataset, config).history]


def keras_fit(x: np.ndarray, epochs: int) -> list[float]:
    """Train the same model with Keras `fit` and its defaults."""
    from vae_builder import VAE, build_models

    vae = VAE(*build_models("dense", (28, 28, 1), LATENT, (HIDDEN,)))
    vae.compile(optimizer="adam")
    data = (x / np.float32(255)).astype(np.float32)

    def epoch() -> None:
        vae.fit(data, data, epochs=1, batch_size=BATCH, verbose=0)

    return timed(epoch, epochs)


def torch_eager(x: np.ndarray, epochs: int) -> list[float]:
    """Train with PyTorch in eager mode, on a tensor in memory."""
    import torch
    from torch import nn

    encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.SiLU())
    mean, log_var = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
    decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, PIXELS))
    modules = nn.ModuleList([encoder, mean, log_var, decoder])
    optimizer = torch.optim.Adam(modules.parameters())
    data = torch.from_numpy(x.reshape(len(x), PIXELS).astype(np.float32) / np.float32(255))

    def epoch() -> None:
        order = torch.randperm(len(data))
        for start in range(0, len(data) - BATCH + 1, BATCH):
            batch = data[order[start : start + BATCH]]
            h = encoder(batch)
            m, v = mean(h), log_var(h)
            logits = decoder(m + torch.exp(v / 2) * torch.randn_like(m))
            bce = nn.functional.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            kl = -0.5 * torch.sum(1 + v - m**2 - torch.exp(v))
            optimizer.zero_grad()
            ((bce + kl) / BATCH).backward()
            optimizer.step()

    return timed(epoch, epochs)


def jax_scan(x: np.ndarray, epochs: int) -> list[float]:
    """Train with JAX, each epoch in one `lax.scan`."""
    import jax
    import jax.numpy as jnp

    def dense(key: jax.Array, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
        scale = np.sqrt(6 / (inputs + outputs))
        weights = jax.random.uniform(key, (inputs, outputs), minval=-scale, maxval=scale)
        return weights, jnp.zeros(outputs)

    sizes = [
        (PIXELS, HIDDEN),
        (HIDDEN, LATENT),
        (HIDDEN, LATENT),
        (LATENT, HIDDEN),
        (HIDDEN, PIXELS),
    ]
    keys = jax.random.split(jax.random.key(0), len(sizes))
    weights = [dense(key, *size) for key, size in zip(keys, sizes, strict=True)]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    data = jnp.asarray(x.reshape(len(x), PIXELS))

    def loss(weights: list, batch: jax.Array, key: jax.Array) -> jax.Array:
        apply = [lambda h, w=w: h @ w[0] + w[1] for w in weights]
        h = jax.nn.silu(apply[0](batch))
        m, v = apply[1](h), apply[2](h)
        z = m + jnp.exp(v / 2) * jax.random.normal(key, m.shape)
        logits = apply[4](jax.nn.silu(apply[3](z)))
        bce = jnp.maximum(logits, 0) - logits * batch + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        kl = -0.5 * (1 + v - m**2 - jnp.exp(v))
        return (bce.sum() + kl.sum()) / BATCH

    def step(state: tuple, inputs: tuple) -> tuple:
        weights, first, second, t = state
        order, key = inputs
        gradient = jax.grad(loss)(weights, data[order].astype(jnp.float32) / 255, key)
        t = t + 1
        first = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, second, gradient)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(
            lambda w, a, b: w - rate * a / (jnp.sqrt(b) + 1e-7), weights, first, second
        )
        return (weights, first, second, t), None

    scan = jax.jit(lambda state, inputs: jax.lax.scan(step, state, inputs)[0])
    state = (weights, zeros, zeros, jnp.zeros(()))
    steps = len(x) // BATCH

    def epoch() -> None:
        nonlocal state
        order = np.random.default_rng(0).permutation(len(x))[: steps * BATCH].reshape(steps, BATCH)
        state = jax.block_until_ready(
            scan(state, (jnp.asarray(order), jax.random.split(jax.random.key(1), steps)))
        )

    return timed(epoch, epochs)


def products(x: np.ndarray, epochs: int) -> list[float]:
    """Compute only the matrix products of an epoch, in one compiled TensorFlow loop."""
    import tensorflow as tf

    sizes = [(PIXELS, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, PIXELS)]
    rng = np.random.default_rng(0)
    inputs = [tf.constant(rng.random((BATCH, i), np.float32)) for i, _ in sizes]
    weights = [tf.constant(rng.random(size, np.float32)) for size in sizes]
    outputs = [tf.constant(rng.random((BATCH, o), np.float32)) for _, o in sizes]

    @tf.function
    def run(steps: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for _ in tf.range(steps):
            parts = []
            for i, (a, w, b) in enumerate(zip(inputs, weights, outputs, strict=True)):
                a = a + total * 0  # keeps TensorFlow from computing it once for all steps
                parts += [tf.matmul(a, w), tf.matmul(a, b, transpose_a=True)]
                if i:  # no gradient flows to the pixels
                    parts.append(tf.matmul(b + total * 0, w, transpose_b=True))
            total += tf.add_n([part[0, 0] for part in parts])
        return total

    return timed(lambda: run(tf.constant(len(x) // BATCH)).numpy(), epochs)


def timed(epoch: Callable[[], object], epochs: int) -> list[float]:
    """Return the seconds of each epoch; the first one compiles."""
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - started)
    return seconds


CONTENDERS = {
    "build-vae": build_vae,
    "keras fit": keras_fit,
    "torch eager": torch_eager,
    "jax scan": jax_scan,
    "products": products,
}


def run(name: str, samples: int, epochs: int) -> float | None:
    """Return the seconds of a contender's best epoch; None if its package is missing."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        return min(CONTENDERS[name](pixels(samples), epochs + 1)[1:])
    except ModuleNotFoundError as error:
        print(f"{name}: {error.name} is not installed")
        return None


def main() -> None:
    """Run all contenders in turn, twice, and print the better result of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    best: dict[str, float] = {}
    for _ in range(2):
        for name in CONTENDERS:
            with context.Pool(1) as pool:
                seconds = pool.apply(run, (name, options.samples, options.epochs))
            if seconds is not None:
                best[name] = min(seconds, best.get(name, seconds))
    print(f"{'':12} {'s/epoch':>8} {'build-vae / this':>17}")
    for name, seconds in best.items():
        print(f"{name:12} {seconds:8.2f} {best['build-vae'] / seconds:17.2f}")
    if options.json:
        options.json.write_text(json.dumps(best, indent=2))


if __name__ == "__main__":
    main()
