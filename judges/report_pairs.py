"""Pairs for the labelling page from a finished evaluation: what two arms answered to the same questions.

Nothing in a pair names an arm: `a` is the first arm's answer, and the page draws which one stands first.
"""

from __future__ import annotations

from domains.errors import UserError, unknown_name
from judges.labels import LabelPair, content_id
from judges.report import Report


def pairs_of(report: Report, arm_a: str, arm_b: str) -> list[LabelPair]:
    """The pairs in the order of the questions; those with an answer missing, or with equal ones, have no better one."""
    for arm in (arm_a, arm_b):
        if arm not in report.arms:
            raise unknown_name("arm", arm, report.arms)
    found: dict[str, LabelPair] = {}
    for sample in report.samples:
        a, b = (str(sample["answers"].get(arm, "")) for arm in (arm_a, arm_b))
        if a.strip() and b.strip() and a.strip() != b.strip():
            asked = str(sample["question"])
            pair = LabelPair(content_id(asked, a, b), asked, a, b, sample.get("reference") or None)
            found[pair.id] = pair
    if not found:
        raise UserError(f"'{arm_a}' and '{arm_b}' have no two different answers to a question in this report.")
    return list(found.values())
