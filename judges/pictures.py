"""Small square pictures as answers, and one figure of a shape and a colour drawn on white."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float64]

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.1, 0.1),
    "green": (0.1, 0.65, 0.15),
    "blue": (0.1, 0.2, 0.85),
    "yellow": (0.95, 0.85, 0.1),
}
SHAPES = ("square", "circle", "triangle")
CHANNELS = 3


@dataclass(frozen=True)
class Picture:
    """`size` x `size` pixels as RGB bytes, row by row from the top."""

    size: int
    rgb: bytes

    def __post_init__(self) -> None:
        if self.size < 1 or len(self.rgb) != self.size * self.size * CHANNELS:
            raise ValueError(f"{len(self.rgb)} bytes are not {self.size} x {self.size} x {CHANNELS}")

    @classmethod
    def of(cls, pixels: Pixels) -> Picture:
        """From values in [0, 1] (size, size, 3); values outside are cut off."""
        clipped = np.clip(np.nan_to_num(pixels), 0.0, 1.0)
        return cls(len(pixels), np.rint(clipped * 255).astype(np.uint8).tobytes())

    @property
    def pixels(self) -> Pixels:
        """Values in [0, 1], (size, size, 3)."""
        return np.frombuffer(self.rgb, np.uint8).reshape(self.size, self.size, CHANNELS) / 255.0

    def as_dict(self) -> dict[str, Any]:
        """The form in files."""
        return {"size": self.size, "rgb": base64.b64encode(self.rgb).decode()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Picture:
        """From the form in files."""
        return cls(int(content["size"]), base64.b64decode(content["rgb"]))


@dataclass(frozen=True)
class Box:
    """A figure's bounding box in pixels: the first row and column, and how many of each."""

    top: int
    left: int
    height: int
    width: int


def draw(size: int, shape: str, colour: str, box: Box) -> Picture:
    """One figure on white that fills its box."""
    pixels = np.ones((size, size, CHANNELS))
    pixels[shape_mask(size, shape, box)] = COLOURS[colour]
    return Picture.of(pixels)


def shape_mask(size: int, shape: str, box: Box) -> Mask:
    """Which pixels belong to a shape in a box: the box, its inscribed ellipse, or the triangle on its lower side."""
    rows, columns = np.mgrid[0:size, 0:size]
    down, across = (rows - box.top + 0.5) / box.height, (columns - box.left + 0.5) / box.width
    inside: Mask = (down > 0) & (down < 1) & (across > 0) & (across < 1)
    if shape == "circle":
        inside &= (down - 0.5) ** 2 + (across - 0.5) ** 2 <= 0.25
    elif shape == "triangle":
        inside &= np.abs(across - 0.5) <= down / 2
    return inside


def box_of(mask: Mask) -> Box:
    """The bounding box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1))
