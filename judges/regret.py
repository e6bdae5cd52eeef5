"""What a routing policy costs in answer quality: the oracle's quality minus the policy's, on the same requests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from judges.comparisons import Comparison, compare_measure, decided
from judges.metrics import Measure, Row, measures

ORACLE = "oracle"


def regret(rows: Sequence[Row], untrusted: Collection[str] = ()) -> list[dict[str, Any]]:
    """One record per policy and metric; `rows` are quality rows whose arm is the policy, one of them ORACLE.

    {"policy", "metric", "quality", "oracle", "regret" (oracle - policy in the metric's units), "low", "high", "p_holm",
    "n", "clusters", "mde", "verdict"}. One Holm family; the verdict is the policy's against the oracle: "worse" means
    that the regret is real. Metrics of judges that are `untrusted` get no verdict and say `"trusted": false`.
    """
    found = measures(rows)
    policies = list(dict.fromkeys(row.arm for row in rows if row.arm != ORACLE))
    compared = decided(
        [
            compare_measure(measure, policy, ORACLE)
            for policy in policies
            for measure in found
            if can_compare(measure, policy)
        ],
        untrusted,
    )
    return [_record(comparison) for comparison in compared]


def can_compare(measure: Measure, policy: str) -> bool:
    """Whether a policy and the oracle both have this measure."""
    return {policy, ORACLE} <= measure.features.keys()


def _record(found: Comparison) -> dict[str, Any]:
    """The comparison of the policy with the oracle, its signs turned."""
    turned = replace(found, low=_minus(found.high), high=_minus(found.low), difference=_minus(found.difference))
    return {
        "policy": found.arm_a,
        "metric": found.metric,
        "quality": found.value_a,
        "oracle": found.value_b,
        "regret": turned.difference,
        "low": turned.low,
        "high": turned.high,
        "p_holm": found.p_holm,
        "n": found.n,
        "clusters": found.clusters,
        "mde": found.mde,
        "verdict": found.verdict,
        "trusted": found.trusted,
    }


def _minus(value: float | None) -> float | None:
    return None if value is None else 0.0 - value
