"""The report's claims in plain sentences; numbers as people read them.

The list of comparisons is the same for every report. Those of `LATE` were added after test numbers had been
seen, and the report says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from judges.comparisons import Comparison
from judges.metrics import Metric, metric_info
from judges.stats import Outcome

ARM_TITLES = {
    "foundation": "Foundation",
    "instruct": "Instruct",
    "instruct_prompted": "Instruct + prompt",
    "dapt": "DAPT only",
    "dapt_residual": "DAPT + residual",
    "sft_after_dapt": "SFT after DAPT",
    "conversation": "Conversation",
    "structured": "Structured",
    "multi_task": "Multi-task",
    "calls_sft": "Calls, SFT only",
    "calls": "Calls",
}


@dataclass(frozen=True)
class Claim:
    """What a technique promises: arm_a against arm_b on a metric."""

    arm_a: str
    arm_b: str
    metric: str


ANSWER_QUALITY = ("grounding", "empathy", "bertscore")
CLAIMS = (
    Claim("dapt", "foundation", "perplexity"),
    Claim("dapt_residual", "dapt", "instruction_following"),
    Claim("dapt_residual", "dapt", "instruction_following_domain"),
    Claim("dapt_residual", "instruct", "perplexity"),
    Claim("sft_after_dapt", "dapt_residual", "instruction_following"),
    Claim("conversation", "dapt_residual", "preference_accuracy"),
    Claim("conversation", "dapt_residual", "preference_margin"),
    Claim("structured", "instruct", "classification_macro_f1"),
    Claim("conversation", "multi_task", "preference_accuracy"),
    Claim("structured", "multi_task", "classification_macro_f1"),
    Claim("conversation", "instruct_prompted", "llm_judge"),
    *(Claim("conversation", "instruct", metric) for metric in ANSWER_QUALITY),
    Claim("calls_sft", "instruct", "call_accuracy"),
    Claim("calls", "calls_sft", "call_accuracy"),
    Claim("calls", "calls_sft", "no_call_accuracy"),
)
LATE = {"preference_margin", *ANSWER_QUALITY}
OF_ANSWERS = {"preference_accuracy", "llm_judge", *ANSWER_QUALITY}


@dataclass(frozen=True)
class Headline:
    """A claim's outcome in plain sentences: what was measured (`claim`), then what follows (`evidence`)."""

    arm_a: str
    arm_b: str
    metric: str
    verdict: Outcome
    claim: str
    evidence: str

    @property
    def text(self) -> str:
        """Both sentences."""
        return f"{self.claim} {self.evidence}"

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self) | {"text": self.text}


def arm_title(arm: str) -> str:
    """An arm as people read it."""
    return ARM_TITLES.get(arm) or arm.replace("_", " ").capitalize()


def claims_for(arms: Iterable[str], baseline: str) -> tuple[Claim, ...]:
    """The claims whose arms are there; each arm's instruction following against the baseline if there are none."""
    names = list(arms)
    known = tuple(claim for claim in CLAIMS if claim.arm_a in names and claim.arm_b in names)
    return known or tuple(Claim(arm, baseline, "instruction_following") for arm in names if arm != baseline)


def answer_pairs(arms: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The arms that are claimed to answer better, each with the one that it is claimed to be better than."""
    names = list(arms)
    pairs = dict.fromkeys((claim.arm_a, claim.arm_b) for claim in CLAIMS if claim.metric in OF_ANSWERS)
    return tuple((a, b) for a, b in pairs if a in names and b in names)


def headlines(
    claims: Sequence[Claim], metrics: Sequence[Metric], comparisons: Mapping[Claim, Comparison]
) -> tuple[Headline, ...]:
    """The sentences of the claims that were measured."""
    values = {(metric.arm, metric.metric): metric for metric in metrics}
    found = [comparisons[claim] for claim in claims if claim in comparisons and comparisons[claim].n > 0]
    return tuple(Headline(c.arm_a, c.arm_b, c.metric, c.verdict, _claim(c, values), _evidence(c)) for c in found)


def format_value(metric: str, value: float | None, signed: bool = False) -> str:
    """A value as people read it: shares in percent, others with digits by size; '–' when there is none."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    if metric_info(metric).proportion:
        text = f"{100 * value:+.0f}" if signed else f"{100 * value:.0f}%"
    else:
        text = f"{value:{sign}.{_digits(value)}f}"
    if float(text.rstrip("%")) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def format_interval(metric: str, low: float | None, high: float | None, signed: bool = False) -> str:
    """An interval as people read it; empty when there is none."""
    if low is None or high is None:
        return ""
    ends = [format_value(metric, end, signed).rstrip("%") for end in (low, high)]
    return " to ".join(ends) if signed else "–".join(ends)


def format_p(p: float | None) -> str:
    """A p-value with its relation sign."""
    if p is None:
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _digits(value: float) -> int:
    size = abs(value)
    return 0 if size >= 1000 else 1 if size >= 10 else 2


def _claim(comparison: Comparison, values: Mapping[tuple[str, str], Metric]) -> str:
    name = comparison.metric
    a, b = values[comparison.arm_a, name], values[comparison.arm_b, name]
    predicate = metric_info(name).predicate.replace("{}", format_value(name, a.value))
    other = f"{arm_title(b.arm)} {format_value(name, b.value)}"
    same_count = (a.n, a.unscored) == (b.n, b.unscored)
    return f"{arm_title(a.arm)} {predicate}{_in_brackets(a)}, {other}{_in_brackets(b, with_count=not same_count)}."


def _in_brackets(metric: Metric, with_count: bool = True) -> str:
    interval = format_interval(metric.metric, metric.low, metric.high)
    parts = [f"95% CI {interval}" if with_count else interval] if interval else []
    parts += [f"n={metric.n}"] if with_count else []
    parts += [f"{metric.unscored} unscored"] if with_count and metric.unscored else []
    return f" ({', '.join(parts)})" if parts else ""


def _evidence(comparison: Comparison) -> str:
    name = comparison.metric
    interval = format_interval(name, comparison.low, comparison.high, signed=True)
    details = f"difference {format_value(name, comparison.difference, signed=True)}{_points(name)}"
    details += f", 95% CI {interval}" if interval else ""
    if not comparison.trusted:
        return f"{comparison.verdict.capitalize()}: {details}, but its judge is not trusted, so this decides nothing."
    sentence = f"{comparison.verdict.capitalize()}: {details}, adjusted {format_p(comparison.p_holm)}."
    return sentence if comparison.verdict != "not enough evidence" else f"{sentence} {detectable(comparison)}"


def detectable(comparison: Comparison) -> str:
    """What this many items could have shown, and how many the difference that was seen would need."""
    name, mde = comparison.metric, comparison.mde
    if mde is None:
        return f"With n={comparison.n} no difference could have been shown." if comparison.standard_error else ""
    found = f"n={comparison.n} shows differences from {_unsigned(name, mde)}{_points(name)} up"
    needed = items_needed(comparison)
    return f"{found}; one of this size would need about {needed:,} items." if needed else f"{found}."


def comparison_line(comparison: Comparison) -> str:
    """A comparison as one line of text: arms, metric, verdict, difference, interval, adjusted p, n, MDE."""
    name, arms = comparison.metric, dict.fromkeys((comparison.arm_a, comparison.arm_b))
    interval = format_interval(name, comparison.low, comparison.high, signed=True) or "–"
    mde = "–" if comparison.mde is None else f"{_unsigned(name, comparison.mde)}{_points(name)}"
    doubt = "" if comparison.trusted else ", judge not trusted"
    return (
        f"{' against '.join(arms):34} {name:30} {comparison.verdict:20} "
        f"{format_value(name, comparison.difference, signed=True)}{_points(name)} (95% CI {interval}), "
        f"adjusted {format_p(comparison.p_holm)}, n={comparison.n}, MDE {mde}{doubt}"
    )


def items_needed(comparison: Comparison) -> int | None:
    """Items for 80% power if the true difference is the one that was seen: n * (mde / difference)^2; None if absurd."""
    if comparison.mde is None or not comparison.difference:
        return None
    needed = math.ceil(comparison.n * (comparison.mde / comparison.difference) ** 2)
    return needed if comparison.n < needed < 100_000 else None


def summary(found: Sequence[Headline]) -> str:
    """All claims in one sentence."""
    if not found:
        return "No two arms of this report share items, so nothing can be claimed."
    counts = Counter(headline.verdict for headline in found)
    parts = [f"{counts['better']} hold", f"{counts['worse']} came out the other way"]
    undecided = f"for {counts['not enough evidence']} there is not enough evidence"
    late = " Those on preference margin, grounding, empathy and BERTScore were listed after test numbers had been seen."
    told = late if any(headline.metric in LATE for headline in found) else ""
    return f"Of {len(found)} claims that every report makes, {', '.join(parts)}, and {undecided}.{told}"


def _points(metric: str) -> str:
    return " points" if metric_info(metric).proportion else ""


def _unsigned(metric: str, value: float) -> str:
    return format_value(metric, value).rstrip("%")
