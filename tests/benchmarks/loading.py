"""What the checks of `load` cost, above reading and hashing the same files.

```sh
build-vae export wide-vae --hidden 800 --epochs 1 && python tests/benchmarks/loading.py wide-vae
```

Reading and hashing is that of the manifest and the three graphs, which is what `load` reads. No
session is opened by either.
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
    """Times of an action, in order, without a first one."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - start))
    return times[1:]


def main() -> None:
    """Measures one bundle as a folder and as a single file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    packed = vae_runtime.pack(given.bundle, given.bundle.with_suffix(".vae")).path
    files = [given.bundle / name for name in ("manifest.json", "encoder.onnx", "decoder.onnx")]
    files.append(given.bundle / "loss.onnx")

    def read_and_hash() -> list[bytes]:
        contents = [file.read_bytes() for file in files]  # held together, as `load` holds them
        for content in contents:
            hashlib.sha256(content).hexdigest()
        return contents

    size = sum(file.stat().st_size for file in files)
    print(f"{size / 1e6:.1f} MB in manifest and graphs, medians of {given.repeats}, milliseconds")
    floor = statistics.median(milliseconds(read_and_hash, given.repeats))
    print(f"read and hash      {floor:6.1f}")
    for path in (given.bundle, packed):
        loaded = statistics.median(
            milliseconds(lambda path=path: vae_runtime.load(path), given.repeats)
        )
        form = "folder" if path.is_dir() else "single file"
        print(f"load, {form:12} {loaded:6.1f}   checks {loaded - floor:+.1f}")


if __name__ == "__main__":
    main()
