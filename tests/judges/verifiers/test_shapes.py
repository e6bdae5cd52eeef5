"""Shapes and colours by their pixels: planted right, wrong, empty and noisy pictures."""

import numpy as np
import pytest

from domains.errors import UserError
from domains.example import Message
from judges.pictures import COLOURS, SHAPES, Box, Picture, draw, shape_mask
from judges.verifier import Task
from judges.verifier_calibration import Planted, calibrate
from judges.verifiers.shapes import Verifier

BOX = Box(3, 4, 10, 9)


def task(shape: str, colour: str) -> Task:
    return Task("t", (Message("user", f"Draw a {colour} {shape}."),), {"shape": shape, "colour": colour})


def scores(wanted: Task, picture: Picture) -> tuple[float, ...]:
    verifier = Verifier()
    return verifier.judge(wanted, verifier.conditions(wanted), picture).scores


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_figure_is_what_it_is_and_nothing_else(size, shape, colour):
    box = Box(size // 8, size // 6, size // 2 + 2, size // 2 + 1)
    picture = draw(size, shape, colour, box)
    for other in SHAPES:
        assert (scores(task(other, colour), picture)[2] > 0.5) == (other == shape)
    for other in COLOURS:
        assert (scores(task(shape, other), picture)[1] > 0.5) == (other == colour)
    assert scores(task(shape, colour), picture)[:2] == (1.0, 1.0)


def test_noise_on_a_figure_does_not_change_the_verdict():
    """Gaussian noise of 0.08 on every channel; the ground stays nearer to white than 0.25 (three deviations)."""
    pixels = draw(16, "circle", "blue", BOX).pixels + np.random.default_rng(0).normal(0, 0.08, (16, 16, 3))
    assert min(scores(task("circle", "blue"), Picture.of(pixels))) > 0.5


@pytest.mark.parametrize(
    "pixels", [np.ones((16, 16, 3)), np.zeros((16, 16, 3)), np.random.default_rng(1).random((16, 16, 3))]
)
def test_no_figure_fails_every_task(pixels):
    for shape in SHAPES:
        for colour in COLOURS:
            assert min(scores(task(shape, colour), Picture.of(pixels))) < 0.5


def test_advice_says_what_it_looks_like():
    verifier, wanted = Verifier(), task("circle", "red")
    critique = verifier.judge(wanted, verifier.conditions(wanted), draw(16, "square", "green", BOX))
    assert "Is the figure red? No. It looks like green." in critique.advice
    assert "Is the figure a circle? No. It looks like square." in critique.advice


@pytest.mark.parametrize(
    "facts", [{}, {"shape": "circle"}, {"shape": "circle", "colour": "pink"}, {"shape": 3, "colour": "red"}]
)
def test_a_task_without_a_known_shape_and_colour_is_refused(facts):
    with pytest.raises(UserError, match="of the task t"):
        Verifier().conditions(Task("t", (Message("user", "Draw."),), facts))


def test_it_is_calibrated_on_planted_pictures():
    """Twelve right pictures; the wrong ones have another colour or another shape, in turn."""
    wanted = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    shapes, colours = list(SHAPES), list(COLOURS)
    probes = []
    for place, (shape, colour) in enumerate(wanted):
        other = shapes[(shapes.index(shape) + 1) % 3] if place % 2 else shape
        paint = colour if place % 2 else colours[(colours.index(colour) + 1) % 4]
        good, bad = draw(16, shape, colour, BOX), draw(16, other, paint, BOX)
        probes.append(Planted(str(place), task(shape, colour), good, bad))
    found = calibrate(Verifier(), probes)
    assert (found.good_passed, found.bad_failed, found.trusted) == (1.0, 1.0, True)


def test_pictures_as_json_and_their_checks():
    picture = draw(16, "triangle", "yellow", BOX)
    assert Picture.from_dict(picture.as_dict()) == picture
    assert Picture.of(picture.pixels) == picture
    assert Picture.of(np.full((2, 2, 3), np.nan)).rgb == bytes(12)
    with pytest.raises(ValueError, match="are not"):
        Picture(4, b"abc")


def test_areas_of_the_shapes():
    """In a box of side a: a^2, pi/4 a^2 and a^2/2, up to the pixels of the outline."""
    box = Box(4, 4, 40, 40)
    areas = {shape: shape_mask(48, shape, box).sum() / 1600 for shape in SHAPES}
    assert areas == pytest.approx({"square": 1.0, "circle": np.pi / 4, "triangle": 0.5}, abs=0.02)
