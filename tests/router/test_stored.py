"""The file of a fitted router: whatever is wrong with it is one sentence that says what, and what to do."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from domains.errors import UserError
from router.selection import learning_strategies, strategy_module
from router.stored import FILE, problems, stored

PLAIN = {"temperature": 1.5, "threshold": 0, "digests": {"model": "x"}}
CONTENT: dict[str, Any] = {
    "labels": ["a", "general"],
    "priors": {"a": 0.5, "general": 0.5},
    "strategies": {
        "few_shot": PLAIN
        | {
            "fit": {
                "labels": ["a", "general"],
                "shots": [["hello", "a"]],
                "weights": [[1.0, 0.0], [0.0, 1.0]],
                "bias": [0.0, 0.0],
                "calibrated": True,
            }
        },
        "nearest": PLAIN
        | {"fit": {"weights": [[0.5, 1]], "bias": [0.0, -1000.0], "examples": [[1.0], [0.0]], "targets": [0, 1]}},
        "blend": PLAIN | {"fit": {"weights": {"few_shot": 0.5, "nearest": 0.5}, "bias": [0.0, 0.0]}},
    },
    "default": "blend",
}
FREE = ("priors", "digests")  # their keys are names of labels and models


def paths(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The place of every key that a reader relies on."""
    for key, value in content.items():
        here = (*place, key)
        if here != ("strategies", key):
            yield here
        if isinstance(value, dict) and key not in FREE:
            yield from paths(value, here)


PLACES = list(paths(CONTENT))


def changed(place: tuple[str, ...], change: Any) -> Any:
    """The content, with something done to the object that has a key."""
    content = copy.deepcopy(CONTENT)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    change(inner, place[-1])
    return content


def read(home, text):
    path = home / FILE
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return stored(home)


def test_a_good_file_is_read_and_none_is_empty(tmp_path):
    assert stored(tmp_path) == {}
    assert read(tmp_path, json.dumps(CONTENT)) == CONTENT


def test_more_than_is_needed_is_no_fault():
    assert list(problems(CONTENT | {"data": "x", "abstention": {}, "later": 1})) == []


def test_every_strategy_that_learns_says_what_it_stores():
    assert len(PLACES) == 4 + 3 * 4 + 5 + 4 + (2 + 2)  # outside, of each strategy, and what the three have learnt
    for name in learning_strategies():
        assert set(strategy_module(name).Fit.model_fields) == set(CONTENT["strategies"][name]["fit"])


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_missing_key_is_named(tmp_path, place):
    with pytest.raises(UserError, match=r"router\.json cannot be used: .*'expertsmith build'") as error:
        read(tmp_path, json.dumps(changed(place, dict.pop)))
    assert f"{'.'.join(place)} is missing" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", PLACES, ids=".".join)
@pytest.mark.parametrize("value", [None, "much", [None], {"": None}])
def test_a_wrong_type_is_named(tmp_path, place, value):
    """A text is right for one key only, which then names no strategy."""
    with pytest.raises(UserError, match=r"router\.json cannot be used: .*'expertsmith build'") as error:
        read(tmp_path, json.dumps(changed(place, lambda inner, key: inner.update({key: value}))))
    assert ".".join(place) in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        (json.dumps(CONTENT)[:-1], "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the file: Input should be a valid dictionary"),
        ("null", "the file: Input should be a valid dictionary"),
        ("{}", "labels is missing"),
    ],
)
def test_what_is_no_router_is_refused(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("default",), "fixed", "its default is 'fixed'"),
        (("labels",), [], "labels: "),
        (("strategies", "blend", "temperature"), 0.0, "blend.temperature: "),
        (("strategies", "blend", "threshold"), float("nan"), "blend.threshold: "),
        (("strategies", "nearest", "fit", "examples"), [[1.0], []], "examples: .* different lengths"),
        (("strategies", "few_shot", "fit", "shots"), [["alone"]], r"few_shot.fit.shots.0: "),
        (("strategies", "older"), PLAIN | {"fit": {}}, "no strategy 'older'"),
    ],
)
def test_values_that_mean_nothing_are_refused(tmp_path, place, value, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, json.dumps(changed(place, lambda inner, key: inner.update({key: value}))))


def test_a_strategy_without_its_parts_is_refused(tmp_path):
    with pytest.raises(UserError, match="'blend' is made of 'nearest', which is missing"):
        read(tmp_path, json.dumps(changed(("strategies", "nearest"), dict.pop)))
