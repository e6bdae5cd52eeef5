"""What a training step cost in general ability: the same general probes before and after it, paired by item."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from judges.comparisons import Comparison, compare_measure, decided
from judges.metrics import Measure

PROBES = ("instruction_following", "stops_cleanly")


@dataclass(frozen=True)
class Step:
    """A step of the build: the arm before it and the arm after it."""

    before: str
    after: str


STEPS = (
    Step("foundation", "instruct"),
    Step("foundation", "dapt"),
    Step("dapt", "dapt_residual"),
    Step("dapt", "sft_after_dapt"),
    Step("dapt_residual", "conversation"),
    Step("dapt_residual", "structured"),
    Step("dapt_residual", "multi_task"),
)


def forgetting(
    found: Sequence[Measure], untrusted: Collection[str] = (), steps: Sequence[Step] = STEPS
) -> list[Comparison]:
    """After (arm_a) against before (arm_b) on every general probe, one Holm family: "worse" means forgotten."""
    probes = [measure for name in PROBES for measure in found if measure.metric == name]
    return decided(
        [
            compare_measure(measure, step.after, step.before)
            for step in steps
            for measure in probes
            if {step.before, step.after} <= measure.features.keys()
        ],
        untrusted,
    )
