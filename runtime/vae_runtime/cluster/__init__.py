"""Scoring beyond one process: parts of a source, scored by processes, Ray or Dask.

`score` is the whole of it. A part has a name that follows from its input and from the bundle; its
file of scores appears complete or not at all, and is the same whoever writes it.
"""

from vae_runtime.cluster.report import JobReport, Progress, SetAside
from vae_runtime.cluster.run import ENGINES, score

__all__ = ["ENGINES", "JobReport", "Progress", "SetAside", "score"]
