"""The plot: bars on a logarithmic scale, as SVG that a browser and a review can read. Pure."""

import math
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from msgspec import Struct

_WIDTH: Final = 960
_LABELS: Final = 330
_RIGHT: Final = 90
_BAR: Final = 16
_ROW: Final = 24
_HEAD: Final = 34
_FONT: Final = 'font-family="sans-serif" font-size="12"'
_COLOURS: Final = {"bedside": "#0b6e4f", "guide": "#b3541e", "peer": "#8a8a8a", "floor": "#5b7db1"}


class Bar(Struct, frozen=True):
    """One bar.

    Attributes:
        label: Beside it.
        kind: Chooses its colour.
        value: Its length, above 0.
        least: Where the line across its end begins.
        most: And where it ends.
    """

    label: str
    kind: str
    value: float
    least: float
    most: float


class Panel(Struct, frozen=True):
    """Bars under one title, on the scale of the whole plot."""

    title: str
    bars: tuple[Bar, ...]


def svg(title: str, panels: Sequence[Panel]) -> str:
    """Return the plot, ending in a newline."""
    values = [bar.most for panel in panels for bar in panel.bars]
    scale = _Scale(min(bar.least for panel in panels for bar in panel.bars), max(values))
    height = _HEAD + sum(_HEAD + _ROW * len(panel.bars) for panel in panels) + _HEAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    top = _HEAD
    for panel in panels:
        parts += _panel(panel, scale, top)
        top += _HEAD + _ROW * len(panel.bars)
    return "\n".join([*parts, *_axis(scale, top), "</svg>"]) + "\n"


class _Scale:
    """From a value to a place on the page, logarithmic, from one power of ten to another."""

    def __init__(self, least: float, most: float) -> None:
        self.low = math.floor(math.log10(least))
        self.high = max(math.ceil(math.log10(most)), self.low + 1)

    def x(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(_LABELS + share * (_WIDTH - _LABELS - _RIGHT), 1)


def _panel(panel: Panel, scale: _Scale, top: int) -> list[str]:
    parts = [f'<text x="12" y="{top + 22}" font-weight="bold">{escape(panel.title)}</text>']
    for index, bar in enumerate(panel.bars):
        y = top + _HEAD + index * _ROW
        middle = y + _BAR / 2
        end = scale.x(bar.value)
        width = round(end - _LABELS, 1)
        parts += [
            f'<text x="{_LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{_LABELS}" y="{y}" width="{width}" height="{_BAR}" fill="{_COLOURS[bar.kind]}"/>',
            f'<line x1="{scale.x(bar.least)}" x2="{scale.x(bar.most)}" y1="{middle}" y2="{middle}" stroke="black"/>',
            f'<text x="{max(end, scale.x(bar.most)) + 6}" y="{y + 12}">{bar.value:.3g}</text>',
        ]
    return parts


def _axis(scale: _Scale, top: int) -> list[str]:
    parts = []
    for power in range(scale.low, scale.high + 1):
        x = scale.x(10.0**power)
        parts += [
            f'<line x1="{x}" x2="{x}" y1="{_HEAD}" y2="{top}" stroke="#00000022"/>',
            f'<text x="{x}" y="{top + 18}" text-anchor="middle">{10.0**power:,.{max(-power, 0)}f}</text>',
        ]
    return parts
