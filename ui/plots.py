"""SVG plots as text: crisp at any size, coloured by the page's CSS variables, so they follow light and dark mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 360
ROW_HEIGHT = 24
LABEL_WIDTH = 124
VALUE_WIDTH = 50
MARGIN = 10
NUM_TICKS = 5
MARKS = {"better": "circle", "worse": "diamond", "not enough evidence": "ring"}


@dataclass(frozen=True)
class Effect:
    """A line of a forest plot: a difference with its interval, the text beside it and the verdict that colours it."""

    label: str
    difference: float
    low: float | None
    high: float | None
    text: str
    verdict: str


@dataclass(frozen=True)
class Point:
    """A point of a trade-off plot with its label and optional vertical interval."""

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Calibrated:
    """A bin of a reliability diagram: mean confidence, share right with its interval, n."""

    confidence: float
    accuracy: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Axis:
    """A linear map of values to pixels with ticks at round values."""

    ticks: tuple[float, ...]
    start: float
    end: float
    first_pixel: float
    last_pixel: float

    def pixel(self, value: float) -> float:
        """The position of a value."""
        share = (value - self.start) / (self.end - self.start)
        return self.first_pixel + share * (self.last_pixel - self.first_pixel)


def axis(values: Sequence[float], first_pixel: float, last_pixel: float) -> Axis:
    """An axis that shows all values, with about NUM_TICKS round ticks inside it."""
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(low)):
        low, high = low - 0.5, high + 0.5
    pad = 0.06 * (high - low)
    step = _round_step((high - low) / NUM_TICKS)
    first = math.ceil((low - pad) / step)
    last = math.floor((high + pad) / step)
    return Axis(tuple(step * place for place in range(first, last + 1)), low - pad, high + pad, first_pixel, last_pixel)


def forest(effects: Sequence[Effect], caption: str, tick_text: Callable[[float], str]) -> Markup:
    """Differences with intervals around a line at zero, one row an effect."""
    ends = [end for effect in effects for end in (effect.difference, effect.low, effect.high) if end is not None]
    scale = axis([0.0, *ends], LABEL_WIDTH + MARGIN, WIDTH - VALUE_WIDTH - MARGIN)
    bottom = ROW_HEIGHT * len(effects) + 4
    grid = [_line(scale.pixel(tick), 0, scale.pixel(tick), bottom, "grid") for tick in scale.ticks]
    numbers = [_text(scale.pixel(tick), bottom + 15, tick_text(tick), "tick", "middle") for tick in scale.ticks]
    zero = _line(scale.pixel(0), 0, scale.pixel(0), bottom, "zero")
    rows = [_effect(effect, ROW_HEIGHT * (place + 0.5), scale) for place, effect in enumerate(effects)]
    return _svg(caption, bottom + 20, [*grid, zero, *numbers, *rows])


def trade_off(points: Sequence[Point], caption: str, x_title: str, y_title: str) -> Markup:
    """Labelled points joined in the order given: how one measure moves against another. y is a share."""
    height, left, bottom = 270, 46, 218
    across = axis([point.x for point in points], left + 14, WIDTH - 34)
    up = Axis((0.0, 0.25, 0.5, 0.75, 1.0), 0.0, 1.0, bottom, 30)
    parts = [_line(left, up.pixel(tick), WIDTH - MARGIN, up.pixel(tick), "grid") for tick in up.ticks]
    parts += [_text(left - 6, up.pixel(tick) + 4, f"{100 * tick:.0f}%", "tick", "end") for tick in up.ticks]
    parts += [_line(across.pixel(tick), bottom, across.pixel(tick), bottom + 4, "axis") for tick in across.ticks]
    parts += [_text(across.pixel(tick), bottom + 18, f"{tick:.4g}", "tick", "middle") for tick in across.ticks]
    parts += [_line(left, bottom, WIDTH - MARGIN, bottom, "axis")]
    parts += [
        _text((left + WIDTH) / 2, bottom + 40, x_title, "title", "middle"),
        _text(4, 14, y_title, "title", "start"),
    ]
    path = " ".join(f"{across.pixel(point.x):.1f},{up.pixel(point.y):.1f}" for point in points)
    parts += [Markup('<polyline class="path" points="{}"/>').format(path)]
    parts += [_point(point, across, up) for point in points]
    return _svg(caption, height, [*parts, *_point_labels(points, across, up)])


def lines(series: Mapping[str, Sequence[float | None]], caption: str, x_title: str, y_title: str) -> Markup:
    """Values by number (0, 1, 2, ...) as one polyline a series, its name at its last point; None leaves a gap."""
    height, left, bottom = 220, 46, 168
    values = [value for found in series.values() for value in found if value is not None] or [0.0]
    longest = max((len(found) for found in series.values()), default=1)
    across = Axis(tuple(range(longest)), 0, max(1, longest - 1), left + 14, WIDTH - 84)
    up = axis(values, bottom, 30)
    parts = [_line(left, up.pixel(tick), WIDTH - MARGIN, up.pixel(tick), "grid") for tick in up.ticks]
    parts += [_text(left - 6, up.pixel(tick) + 4, f"{tick:.3g}", "tick", "end") for tick in up.ticks]
    shown = range(0, longest, max(1, longest // 8))
    parts += [_text(across.pixel(tick), bottom + 18, str(tick), "tick", "middle") for tick in shown]
    parts += [_line(left, bottom, WIDTH - MARGIN, bottom, "axis")]
    parts += [
        _text((left + WIDTH) / 2, bottom + 40, x_title, "title", "middle"),
        _text(4, 14, y_title, "title", "start"),
    ]
    ends = []
    for name, found in series.items():
        points = [Point(place, value, name) for place, value in enumerate(found) if value is not None]
        path = " ".join(f"{across.pixel(point.x):.1f},{up.pixel(point.y):.1f}" for point in points)
        parts.append(Markup('<polyline class="path" points="{}"/>').format(path))
        parts += [_mark(across.pixel(point.x), up.pixel(point.y), "circle") for point in points]
        ends += points[-1:]
    return _svg(caption, height, [*parts, *_point_labels(ends, across, up)])


def reliability_diagram(bins: Sequence[Calibrated], caption: str) -> Markup:
    """Stated confidence (across) against the share that was right (up), with the diagonal of perfect calibration."""
    height, left, bottom = 300, 46, 250
    across = Axis((0.0, 0.25, 0.5, 0.75, 1.0), 0.0, 1.0, left + 8, WIDTH - MARGIN - 8)
    up = Axis((0.0, 0.25, 0.5, 0.75, 1.0), 0.0, 1.0, bottom, 30)
    parts = [_line(left, up.pixel(tick), WIDTH - MARGIN, up.pixel(tick), "grid") for tick in up.ticks]
    parts += [_text(left - 6, up.pixel(tick) + 4, f"{100 * tick:.0f}%", "tick", "end") for tick in up.ticks]
    parts += [_text(across.pixel(tick), bottom + 18, f"{100 * tick:.0f}%", "tick", "middle") for tick in across.ticks]
    parts += [_line(across.pixel(0), up.pixel(0), across.pixel(1), up.pixel(1), "diagonal")]
    parts += [_text((left + WIDTH) / 2, bottom + 40, "confidence of the router", "title", "middle")]
    parts += [_text(4, 14, "share that was right (labels: n)", "title", "start")]
    points = [Point(found.confidence, found.accuracy, f"n={found.n}", found.low, found.high) for found in bins]
    parts += [_point(point, across, up) for point in points]
    parts += _point_labels(points, across, up)
    return _svg(caption, height, parts)


def histogram(counts: Sequence[int], edges: Sequence[float], caption: str, most: int) -> Markup:
    """Bars of counts between edges; `most` is the count at full height, so that several histograms compare."""
    height, left, bottom = 120, 26, 92
    across = Axis(tuple(edges), edges[0], edges[-1], left, WIDTH - MARGIN)
    up = Axis((0.0, float(most)), 0.0, float(max(1, most)), bottom, 12)
    parts = [_line(left, bottom, WIDTH - MARGIN, bottom, "axis")]
    for count, low, high in zip(counts, edges, edges[1:], strict=False):
        x, y = across.pixel(low) + 1, up.pixel(count)
        bar = Markup('<rect class="bar-fill" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
        parts.append(bar.format(x, y, max(1.0, across.pixel(high) - x - 1), bottom - y))
        if count:
            parts.append(_text((x + across.pixel(high)) / 2, y - 2, str(count), "tick", "middle"))
    shown = edges[:: max(1, len(edges) // 6)]
    parts += [_text(across.pixel(edge), bottom + 16, f"{edge:.0f}", "tick", "middle") for edge in shown]
    return _svg(caption, height, parts)


def _effect(effect: Effect, y: float, scale: Axis) -> Markup:
    kind = effect.verdict.replace(" ", "-")
    parts = [_text(LABEL_WIDTH, y + 4, _shorten(effect.label), "label", "end")]
    if effect.low is not None and effect.high is not None:
        parts.append(_line(scale.pixel(effect.low), y, scale.pixel(effect.high), y, "bar"))
    parts.append(_mark(scale.pixel(effect.difference), y, MARKS.get(effect.verdict, "ring")))
    parts.append(_text(WIDTH - 2, y + 4, effect.text, "value", "end"))
    title = f"{effect.label}: {effect.text}, {effect.verdict}"
    return Markup('<g class="{}"><title>{}</title>{}</g>').format(kind, title, Markup("").join(parts))


def _point(point: Point, across: Axis, up: Axis) -> Markup:
    x, y = across.pixel(point.x), up.pixel(point.y)
    parts = [_mark(x, y, "circle")]
    if point.low is not None and point.high is not None:
        parts.insert(0, _line(x, up.pixel(point.low), x, up.pixel(point.high), "bar"))
    title = f"{point.label}: {point.x:.4g}, {100 * point.y:.0f}%"
    return Markup('<g class="point"><title>{}</title>{}</g>').format(title, Markup("").join(parts))


def _point_labels(points: Sequence[Point], across: Axis, up: Axis) -> list[Markup]:
    """Labels right of their points, moved up where one would cover another."""
    placed: list[tuple[float, float]] = []
    for point in points:
        x, y = across.pixel(point.x) + 8, up.pixel(point.y) - 6
        while any(abs(x - other_x) < 28 and abs(y - other_y) < 13 for other_x, other_y in placed):
            y -= 13
        placed.append((x, y))
    return [_text(x, y, point.label, "label halo", "start") for (x, y), point in zip(placed, points, strict=True)]


def _svg(caption: str, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, caption, Markup("").join(parts)
    )


def _mark(x: float, y: float, shape: str) -> Markup:
    if shape == "diamond":
        return Markup('<path class="mark" d="M{:.1f} {:.1f}l5.5 5.5-5.5 5.5-5.5-5.5z"/>').format(x, y - 5.5)
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(
        "mark" if shape == "circle" else "ring", x, y
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, escape(text)
    )


def _shorten(label: str, num_characters: int = 19) -> str:
    return label if len(label) <= num_characters else label[: num_characters - 1] + "…"


def _round_step(rough: float) -> float:
    """The nearest step of 1, 2, 2.5 or 5 times a power of ten that is not smaller."""
    power = float(10.0 ** math.floor(math.log10(rough)))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
