"""Time that the checks of `load` take, beyond reading and hashing the same files.

```sh
build-vae export wide-vae --hidden 800 --epochs 1 && python tests/benchmarks/loading.py wide-vae
```

`load` reads the manifest and the three graphs, and the same files are hashed here. Neither opens a
session.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import vae_runtime


def milliseconds(action: Callable[[], object], repeats: int) -> list[float]:
    """Return the times of an action, after one call that is not timed."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - start))
    return times[1:]


def main() -> None:
    """Measure one bundle as a folder and as a single file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    packed = vae_runtime.pack(options.bundle, options.bundle.with_suffix(".vae")).path
    files = [options.bundle / name for name in ("manifest.json", "encoder.onnx", "decoder.onnx")]
    files.append(options.bundle / "loss.onnx")

    def read_and_hash() -> list[bytes]:
        contents = [file.read_bytes() for file in files]  # all in memory at once, as in `load`
        for content in contents:
            hashlib.sha256(content).hexdigest()
        return contents

    size = sum(file.stat().st_size for file in files)
    print(f"{size / 1e6:.1f} MB in manifest and graphs, medians of {options.repeats}, milliseconds")
    hashing = statistics.median(milliseconds(read_and_hash, options.repeats))
    print(f"read and hash      {hashing:6.1f}")
    for path in (options.bundle, packed):
        loaded = statistics.median(
            milliseconds(lambda path=path: vae_runtime.load(path), options.repeats)
        )
        form = "folder" if path.is_dir() else "single file"
        print(f"load, {form:12} {loaded:6.1f}   checks {loaded - hashing:+.1f}")


if __name__ == "__main__":
    main()
