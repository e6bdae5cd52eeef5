"""Does a stated confidence come true? Bins of equal width and the expected calibration error.

Naeini et al. 2015 (AAAI, doi 10.1609/aaai.v29i1.9602), Guo et al. arXiv:1706.04599.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from judges.stats import wilson_interval

NUM_BINS = 10


def reliability(confidences: Sequence[float], right: Sequence[bool], num_bins: int = NUM_BINS) -> dict[str, Any]:
    """{"bins": [{"low", "high", "confidence", "accuracy", "accuracy_low", "accuracy_high", "n"}], "error", "n"}.

    Empty bins are left out; `error` is the mean gap |accuracy - confidence|, weighted by n (None without any).
    """
    places = [min(num_bins - 1, int(confidence * num_bins)) for confidence in confidences]
    members = {place: [i for i, found in enumerate(places) if found == place] for place in sorted(set(places))}
    bins = [
        _bin(place / num_bins, (place + 1) / num_bins, [confidences[i] for i in found], [right[i] for i in found])
        for place, found in members.items()
    ]
    n = len(confidences)
    error = sum(b["n"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / n if n else None
    return {"bins": bins, "error": error, "n": n}


def _bin(low: float, high: float, confidences: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    n = len(right)
    interval = wilson_interval(sum(right), n)
    return {
        "low": low,
        "high": high,
        "confidence": sum(confidences) / n,
        "accuracy": sum(right) / n,
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "n": n,
    }
