"""A picture of explanations: input, reconstruction, nearest training sample and heat map.

A row for each sample. The heat maps share one scale, which the bar below states. Needs Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.pictures.picture_files import require_pillow
from vae_runtime.data.pictures.picture_grid import MAX_PIXELS, to_uint8
from vae_runtime.errors import InputError, OptionError
from vae_runtime.explanation.explanation import Explanation

Pixels = NDArray[np.uint8]
Float32 = NDArray[np.float32]

MIN_TILE = 128
"""Smaller pictures are enlarged to about so many pixels."""
MARGIN, LABELS, HEADING, LEGEND = 16, 168, 36, 64
"""Margins, width of the labels, height of the headings and of the legend, in pixels."""
TEXT, SMALL = 17, 13
"""Sizes of the letters, in pixels."""
MAX_LETTERS = 22
"""Longest name that is shown."""
PAPER, INK, FRAME = (255, 255, 255), (32, 32, 32), (0, 190, 255)
COLOURS = np.array(
    [(0, 0, 4), (65, 10, 103), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)],
    np.float64,
)
"""Colours of the heat map from 0 to its largest value, as in Matplotlib's inferno."""
CLIPPED = 0.005
"""Share of the elements that are above the end of the scale."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What a picture shows, a row for each sample.

    Attributes:
        x: the samples, shape `(n, height, width, 1 or 3)`, 0 is black and 1 is white.
        explanation: an explanation of them.
        unit_values: values of its reconstructions that are black and white.
        indices: numbers of the samples.
        names: their names; None without names.
    """

    x: Float32
    explanation: Explanation
    unit_values: tuple[float, float]
    indices: Sequence[int]
    names: Sequence[str] | None = None


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise an `OptionError` unless samples of this shape can be drawn."""
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise OptionError(
            f"samples of shape {shape} are not images: write a .csv file instead, or give --json"
        )


def write_picture(file: IO[bytes], rows: Rows) -> None:
    """Write the picture as PNG.

    Raises:
        OptionError: the samples are not images.
        InputError: the picture would have too many pixels.
        MissingExtraError: Pillow is not installed.
    """
    check_shape(rows.x.shape[1:])
    require_pillow("writing a picture")
    from PIL import Image, ImageDraw

    columns, end = _tiles(rows)
    height, width = next(iter(columns.values())).shape[1:3]
    scale = max(1, -(-MIN_TILE // max(height, width)))
    step_y = max(scale * height, 4 * TEXT) + MARGIN
    step_x = scale * width + MARGIN
    size = (
        2 * MARGIN + LABELS + len(columns) * step_x - MARGIN,
        HEADING + len(rows.indices) * step_y + LEGEND,
    )
    size = (max(size[0], 480), size[1])
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            f"a picture of {size[0]} x {size[1]} pixels is larger than {MAX_PIXELS} pixels: "
            "give a smaller --top"
        )
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    boxes = rows.explanation.boxes()
    for i in range(len(rows.indices)):
        top = HEADING + i * step_y
        _write_labels(draw, rows, i, top)
        for j, (heading, tiles) in enumerate(columns.items()):
            left = MARGIN + LABELS + j * step_x
            if i == 0:
                _write(draw, left, MARGIN // 2, heading, SMALL + 1)
            tile = Image.fromarray(np.ascontiguousarray(tiles[i].repeat(scale, 0).repeat(scale, 1)))
            page.paste(tile, (left, top))
            if j in (0, len(columns) - 1):
                y, x = (boxes.start[i, :2] * scale).tolist()
                y2, x2 = (boxes.stop[i, :2] * scale).tolist()
                outline = (left + x - 1, top + y - 1, left + x2, top + y2)
                draw.rectangle(outline, outline=FRAME, width=2)
    _write_legend(page, draw, HEADING + len(rows.indices) * step_y, end)
    page.save(file, "PNG")


def _tiles(rows: Rows) -> tuple[dict[str, Pixels], float]:
    """Return the pictures of each column, RGB, by heading; and the end of the heat map's scale."""
    explained = rows.explanation
    heat = explained.unusual_elements.sum(axis=-1)
    end = max(1.0, float(np.quantile(heat, 1.0 - CLIPPED)))
    shown = {"input": rows.x, "reconstruction": _unit(explained.reconstruction, rows.unit_values)}
    if explained.nearest_prototype is not None:
        shown["nearest known"] = _unit(explained.nearest_prototype, rows.unit_values)
    low = min(0.0, *(float(images.min()) for images in shown.values()))
    high = max(1.0, *(float(images.max()) for images in shown.values()))
    columns = {
        heading: np.broadcast_to(to_uint8((x - low) / (high - low)), (*x.shape[:3], 3))
        for heading, x in shown.items()
    }
    return {**columns, "what is unusual": _colours(heat / end)}, end


def _unit(values: Float32, unit_values: tuple[float, float]) -> Float32:
    low, high = unit_values
    unit: Float32 = (values - np.float32(low)) / np.float32(high - low)
    return unit


def _colours(shares: NDArray[np.floating]) -> Pixels:
    """Return the colours of numbers from 0 to 1, with one more axis for red, green and blue."""
    place = np.clip(shares, 0.0, 1.0) * (len(COLOURS) - 1)
    colours = np.stack(
        [np.interp(place, np.arange(len(COLOURS)), channel) for channel in COLOURS.T], axis=-1
    )
    return np.round(colours).astype(np.uint8)


def _write_labels(draw: Any, rows: Rows, i: int, top: int) -> None:
    scores = rows.explanation.scores
    _write(draw, MARGIN, top, f"p = {scores.p_value[i]:.2g}", TEXT + 3)
    lines = [f"sample {rows.indices[i]}"]
    if rows.names is not None:
        name = rows.names[rows.indices[i]]
        lines.append(name if len(name) <= MAX_LETTERS else f"...{name[3 - MAX_LETTERS :]}")
    lines.append(f"score {scores.score[i]:.4g}")
    if (share := rows.explanation.novelty_share) is not None:
        lines.append(f"{share[i]:.0%} of it novelty")
    for line, text in enumerate(lines):
        _write(draw, MARGIN, top + TEXT + 10 + line * (SMALL + 4), text, SMALL)


def _write_legend(page: Any, draw: Any, top: int, end: float) -> None:
    """Draw the bar of colours, with the values of its ends."""
    from PIL import Image

    left, width = MARGIN + LABELS, 180
    bar = _colours(np.broadcast_to(np.linspace(0, 1, width), (12, width)))
    page.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, top))
    _write(draw, left - 14, top - 2, "0", SMALL)
    _write(draw, left + width + 6, top - 2, f"{end:.3g} or more", SMALL)
    text = "standard deviations of normal samples;  frame: most unusual part"
    _write(draw, MARGIN, top + 22, text, SMALL)
    _write(draw, MARGIN, top - 2, "what is unusual", SMALL)


def _write(draw: Any, left: int, top: int, text: str, size: int) -> None:
    from PIL import ImageFont

    draw.text((left, top), text, fill=INK, font=ImageFont.load_default(size=size))
