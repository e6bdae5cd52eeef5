"""Shapes and colours: whether a picture shows one figure of the wanted shape and colour on white, by its pixels.

`facts` = {"shape": ..., "colour": ...} (judges/pictures.py). The figure is what is not white; its colour is compared
with the palette, its outline with every shape drawn into the same box (intersection over union).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from domains.domain import Domain
from domains.errors import unknown_name
from judges.pictures import COLOURS, SHAPES, Mask, Picture, Pixels, box_of, shape_mask
from judges.verifier import Condition, Critique, Task
from judges.verifiers._findings import Finding, critique, graded

INK = 0.25
LEAST_SHARE, MOST_SHARE, SHARE_FALL = 0.06, 0.6, 0.06
CLEAR_COLOUR = 0.5
CLEAR_SHAPE = 0.15


@dataclass(frozen=True)
class Verifier:
    """Scores say how clearly the wanted colour and shape are the nearest of all: above 0.5 they are, 1 is beyond doubt.
    `ink` is how far from white (in the channel furthest from it) a pixel of the figure is."""

    ink: float = INK
    name: str = "shapes"

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Verifier:
        """The same for every domain: what is wanted comes with the task."""
        return cls()

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """One figure, its colour, its shape."""
        colour, shape = wanted(task, "colour", COLOURS), wanted(task, "shape", SHAPES)
        return (
            Condition("figure", "Is there a figure on a white ground?"),
            Condition("colour", f"Is the figure {colour}?"),
            Condition("shape", f"Is the figure a {shape}?"),
        )

    def judge(self, task: Task, conditions: Sequence[Condition], answer: Picture) -> Critique | None:
        """Every condition; a picture without a figure meets none."""
        pixels = answer.pixels
        mask: Mask = (1 - pixels).max(axis=2) > self.ink
        share = float(mask.mean())
        size = graded(share, LEAST_SHARE, MOST_SHARE, SHARE_FALL)
        if not mask.any():
            return critique(conditions, {c.id: Finding(0.0, "The picture is empty.") for c in conditions})
        near_colours, near_shapes = colours(pixels, mask), shapes(mask)
        return critique(
            conditions,
            {
                "figure": Finding(size, f"It covers {share:.0%} of the picture."),
                "colour": nearest(near_colours, wanted(task, "colour", COLOURS), CLEAR_COLOUR),
                "shape": nearest(near_shapes, wanted(task, "shape", SHAPES), CLEAR_SHAPE),
            },
        )


def wanted(task: Task, name: str, allowed: Sequence[str] | Mapping[str, Any]) -> str:
    """A fact of the task that must be one of the allowed ones."""
    value = task.facts.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise unknown_name(f"{name} of the task {task.id}", str(value), allowed)
    return value


def colours(pixels: Pixels, mask: Mask) -> dict[str, float]:
    """How near the figure's mean colour is to each of the palette (0 = the same, negative = further)."""
    mean = pixels[mask].mean(axis=0)
    return {name: -float(np.linalg.norm(mean - np.array(value))) for name, value in COLOURS.items()}


def shapes(mask: Mask) -> dict[str, float]:
    """The intersection over union of the figure with each shape in its box."""
    box, found = box_of(mask), {}
    for name in SHAPES:
        other = shape_mask(len(mask), name, box)
        found[name] = float((mask & other).sum() / (mask | other).sum())
    return found


def nearest(nearness: Mapping[str, float], name: str, clear: float) -> Finding:
    """0.5 where the wanted one is as near as the best of the others, 1 (0) where it is `clear` nearer (further)."""
    best = max((other for other in nearness if other != name), key=nearness.__getitem__)
    score = 0.5 + (nearness[name] - nearness[best]) / (2 * clear)
    return Finding(min(1.0, max(0.0, score)), f"It looks like {best}.")
