"""The ROC curve as a picture: SVG, which is text and needs no library.

The same detection always gives the same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from vae_runtime.quality.detection import Detection

SIDE = 400
"""Side of the square between the axes, in pixels."""
LEFT, TOP, RIGHT, BOTTOM = 70, 66, 24, 58
"""Margins around it."""

LINE_HEIGHT, LABEL_WIDTH = 17, 290
"""Smallest distance of two labels, and largest width of one, in pixels."""

MAX_NAME = 40
"""Largest number of letters of the model's name in the title."""

BLUE, GREY, RULE, BLACK = "#1a5fb4", "#9aa0a6", "#e0e0e0", "#202124"


def roc_svg(detection: Detection, name: str) -> str:
    """Return the curve, with the points of the alphas, as an SVG file.

    Args:
        detection: what to draw.
        name: name of the model, for the title.
    """
    d = detection
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    subtitle = f"AUROC {d.auroc:.4f}, average precision {d.average_precision:.4f}"
    name = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."
    x_label = f"false alarms among {d.normal:,} normal samples"
    y_label = f"detected among {d.anomalous:,} anomalous samples"
    points = " ".join(f"{_x(x):.2f},{_y(y):.2f}" for x, y in d.roc)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" '
        'font-size="12" role="img">',
        f"<title>ROC curve of {escape(name)}: {subtitle}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(LEFT, 26, f"{name}: score {d.score}", size=15),
        _text(LEFT, 46, subtitle),
        *_grid(),
        _line(0, 0, 1, 1, GREY, 'stroke-dasharray="4 4"'),
        f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="2" '
        'stroke-linejoin="round"/>',
        *_alphas(d),
        _text(LEFT + SIDE / 2, TOP + SIDE + 44, x_label, "middle"),
        f'<g transform="rotate(-90 22 {TOP + SIDE / 2})">'
        + _text(22, TOP + SIDE / 2, y_label, "middle")
        + "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _grid() -> Iterator[str]:
    """Yield grid lines every 20 %, with their numbers, and the two axes."""
    for i in range(6):
        at = i / 5
        color = BLACK if i == 0 else RULE
        yield _line(at, 0, at, 1, color)
        yield _line(0, at, 1, at, color)
        yield _text(_x(at), TOP + SIDE + 20, f"{20 * i} %", "middle")
        yield _text(LEFT - 8, _y(at) + 4, f"{20 * i} %", "end")


def _alphas(d: Detection) -> Iterator[str]:
    """Yield a dot for each alpha, and below it what alarms at this alpha do."""
    ordered = sorted(d.alarms, key=lambda rates: -rates.detection_rate)
    tops = _spread([_y(rates.detection_rate) + 16 for rates in ordered])
    for rates, top in zip(ordered, tops, strict=True):
        x, y = _x(rates.false_alarm_rate), _y(rates.detection_rate)
        left = min(x + 14, LEFT + SIDE - LABEL_WIDTH)
        yield f'<circle cx="{x:.2f}" cy="{y:.2f}" r="4" fill="{BLUE}" stroke="white"/>'
        yield _text(
            left,
            top,
            f"alpha {rates.alpha:g}: {100 * rates.detection_rate:.3g} % detected, "
            f"{100 * rates.false_alarm_rate:.2g} % false alarms",
        )
        if left > x:
            yield (
                f'<line x1="{x + 3:.2f}" y1="{y + 3:.2f}" x2="{left - 3:.2f}" y2="{top - 4:.2f}" '
                f'stroke="{GREY}" stroke-width="0.8"/>'
            )


def _spread(tops: list[float]) -> list[float]:
    """Move labels apart: first down, then up if they would leave the plot."""
    for i in range(1, len(tops)):
        tops[i] = max(tops[i], tops[i - 1] + LINE_HEIGHT)
    limit = float(TOP + SIDE - 8)
    for i in reversed(range(len(tops))):
        tops[i] = min(tops[i], limit)
        limit = tops[i] - LINE_HEIGHT
    return tops


def _x(rate: float) -> float:
    return LEFT + SIDE * rate


def _y(rate: float) -> float:
    return TOP + SIDE * (1 - rate)


def _line(x1: float, y1: float, x2: float, y2: float, color: str, style: str = "") -> str:
    return (
        f'<line x1="{_x(x1):g}" y1="{_y(y1):g}" x2="{_x(x2):g}" y2="{_y(y2):g}" '
        f'stroke="{color}"{style and f" {style}"}/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", *, size: int = 12) -> str:
    return (
        f'<text x="{x:.6g}" y="{y:.6g}" fill="{BLACK}" text-anchor="{anchor}" '
        f'font-size="{size}">{escape(text)}</text>'
    )
