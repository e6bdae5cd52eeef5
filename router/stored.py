"""The fitted router of a home folder as a file, `HOME/router/router.json`, checked where it is read.

It holds every strategy, its temperature and threshold, and the one that won on dev (see `selection.fit_all`). A file of
another version, or one that was cut or edited, is a UserError that says what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat, PositiveFloat, ValidationError

from domains.errors import UserError
from router.selection import learning_strategies, strategy_module

FILE = "router/router.json"


class Fitted(BaseModel):
    """One strategy. `fit` is what it has learnt; its own file says what belongs into it."""

    fit: dict[str, Any]
    temperature: PositiveFloat
    threshold: FiniteFloat
    digests: dict[str, str]


class Form(BaseModel):
    """What a router is made from."""

    labels: list[str] = Field(min_length=1)
    priors: dict[str, FiniteFloat]
    strategies: dict[str, Fitted]
    default: str


def stored(home: Path) -> dict[str, Any]:
    """The fitted router as JSON; empty when there is none."""
    path = home / FILE
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # a cut file, or bytes that are no text
        raise unusable(path, "it is not JSON") from None
    for problem in problems(content):
        raise unusable(path, problem)
    return content


def unusable(path: Path, problem: str) -> UserError:
    """The refusal of a file."""
    return UserError(
        f"The router in {path} cannot be used: {problem}. The file is damaged or from another version; run "
        "'expertsmith build' again, which fits the router anew."
    )


def problems(content: Any) -> Iterator[str]:
    """What is wrong with the content of a file, the outermost first."""
    found = list(faults(Form, content))
    yield from found
    if found:
        return
    strategies, known = content["strategies"], learning_strategies()
    for name, values in strategies.items():
        if name not in known:
            yield f"there is no strategy '{name}'"
            continue
        module = strategy_module(name)
        yield from faults(module.Fit, values["fit"], "strategies", name, "fit")
        yield from (f"'{name}' is made of '{part}', which is missing" for part in parts(module) - set(strategies))
    if content["default"] not in strategies:
        yield f"its default is '{content['default']}', which is not among its strategies"


def parts(module: Any) -> set[str]:
    """The strategies that a strategy is made of."""
    return set(getattr(module, "PARTS", ()))


def faults(form: type[BaseModel], values: Any, *place: str) -> Iterator[str]:
    """Where values are not of a form, in words; `place` is where they are."""
    try:
        form.model_validate(values, strict=True)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            where = ".".join(map(str, (*place, *fault["loc"]))) or "the file"
            yield f"{where} is missing" if fault["type"] == "missing" else f"{where}: {fault['msg']}"
