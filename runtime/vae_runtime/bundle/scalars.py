"""Types of single values in a manifest: text, paths, digests, numbers."""

from __future__ import annotations

from typing import Annotated

from vae_runtime.files.archive import PATH_PATTERN
from vae_runtime.files.strict_json import meta

Text = Annotated[str, meta(pattern="[^\x00-\x1f\x7f-\x9f]{0,1000}")]
RelativePath = Annotated[str, meta(pattern=PATH_PATTERN)]
Digest = Annotated[str, meta(pattern="[0-9a-f]{64}")]
Size = Annotated[int, meta(ge=1, le=2**31)]
Count = Annotated[int, meta(ge=0, le=2**53)]
Rate = Annotated[float, meta(ge=0, le=1)]
