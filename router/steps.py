"""The steps of an evaluation by name, in order, so that each line of progress says how far it is: `[3/41] ...`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domains.domain import CALLS
from judges.metrics import PAIRWISE
from router.arms import answer_step, has_likelihoods
from router.calibrations import calibration_name
from router.comparison import STAGE as STRATEGIES
from router.leakage import probed_arms
from router.pairwise_judging import compared_arms, pair_step
from router.people import people_step

if TYPE_CHECKING:
    from router.evaluation import Evaluation


@dataclass(frozen=True)
class Numbered:
    """Tells a line with the number of its step; a line of no step as it is."""

    steps: tuple[str, ...]
    report: Callable[[str], None]

    def __call__(self, text: str) -> None:
        """A line is the name of a step, alone or with a colon and more."""
        for number, name in enumerate(self.steps, 1):
            if text == name or text.startswith(f"{name}: "):
                text = f"[{number}/{len(self.steps)}] {text}"
                break
        self.report(text)


def steps(run: Evaluation, has_router: bool) -> Iterator[str]:
    """Names of everything that an evaluation may have to do; what is done already keeps its number."""
    name = f"{run.domain.name}/evaluate"
    llm = ("llm_judge",) if run.llm_judge is not None else ()
    pairs = compared_arms(run)
    judges = (*run.judge_names, *llm, *((PAIRWISE,) if pairs else ()))
    yield from (calibration_name(judge, run.domain.name, bool(run.domain.probes())) for judge in judges)
    yield from (people_step(run, judge) for judge in judges if run.labels)
    for arm in run.arms:
        yield answer_step(run, arm)
        if has_likelihoods(run, arm):
            yield f"{name}/{arm}/likelihood"
    for arm in run.arms:
        yield from (f"{name}/{arm}", *(f"{name}/{arm}/{judge}" for judge in llm))
    yield from (pair_step(run, *pair) for pair in pairs)
    if has_router and CALLS not in run.domain.tracks:
        yield from (f"{name}/routing", STRATEGIES)
    if run.is_swept:
        yield from (f"{name}/scale {scale}" for scale in run.build.recipe.residual.sweep)
    yield from (f"{name}/{arm}/memorisation" for arm in probed_arms(run))
