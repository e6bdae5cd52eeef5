"""The report's claims in plain sentences, each a comparison fixed beforehand; numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from judges.metrics import Comparison, Metric, Outcome, metric_info

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
}


@dataclass(frozen=True)
class Claim:
    """What a technique promises: arm_a against arm_b on a metric."""

    arm_a: str
    arm_b: str
    metric: str


CLAIMS = (
    Claim("dapt", "foundation", "perplexity"),
    Claim("dapt_residual", "dapt", "instruction_following"),
    Claim("dapt_residual", "dapt", "instruction_following_domain"),
    Claim("dapt_residual", "instruct", "perplexity"),
    Claim("sft_after_dapt", "dapt_residual", "instruction_following"),
    Claim("conversation", "dapt_residual", "preference_accuracy"),
    Claim("structured", "instruct", "classification_macro_f1"),
    Claim("conversation", "multi_task", "preference_accuracy"),
    Claim("structured", "multi_task", "classification_macro_f1"),
    Claim("conversation", "instruct_prompted", "llm_judge"),
)


@dataclass(frozen=True)
class Headline:
    """A claim's outcome in a sentence."""

    arm_a: str
    arm_b: str
    metric: str
    verdict: Outcome
    text: str

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self)


def arm_title(arm: str) -> str:
    """An arm as people read it."""
    return ARM_TITLES.get(arm) or arm.replace("_", " ").capitalize()


def claims_for(arms: Iterable[str], baseline: str) -> tuple[Claim, ...]:
    """The claims whose arms are there; each arm's instruction following against the baseline if there are none."""
    names = list(arms)
    known = tuple(claim for claim in CLAIMS if claim.arm_a in names and claim.arm_b in names)
    return known or tuple(Claim(arm, baseline, "instruction_following") for arm in names if arm != baseline)


def headlines(
    claims: Sequence[Claim], metrics: Sequence[Metric], comparisons: Mapping[Claim, Comparison]
) -> tuple[Headline, ...]:
    """The sentences of the claims that were measured."""
    values = {(metric.arm, metric.metric): metric for metric in metrics}
    return tuple(
        Headline(
            claim.arm_a, claim.arm_b, claim.metric, comparisons[claim].verdict, _sentence(comparisons[claim], values)
        )
        for claim in claims
        if claim in comparisons and comparisons[claim].n > 0
    )


def format_value(metric: str, value: float | None, signed: bool = False) -> str:
    """A value as people read it: shares in percent, others with digits by size; '–' when there is none."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    if metric_info(metric).proportion:
        text = f"{100 * value:{sign}.0f}%" if not signed else f"{100 * value:+.0f}"
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


def _sentence(comparison: Comparison, values: Mapping[tuple[str, str], Metric]) -> str:
    name = comparison.metric
    a, b = values[comparison.arm_a, name], values[comparison.arm_b, name]
    value_a, value_b = format_value(name, a.value), format_value(name, b.value)
    predicate = metric_info(name).predicate.replace("{}", value_a)
    return (
        f"{arm_title(comparison.arm_a)} {predicate}{_in_brackets(a)}, {arm_title(comparison.arm_b)} "
        f"{value_b}{_in_brackets(b)}. {_outcome(comparison)}"
    )


def _in_brackets(metric: Metric) -> str:
    interval = format_interval(metric.metric, metric.low, metric.high)
    unscored = f", {metric.unscored} unscored" if metric.unscored else ""
    return f" ({f'95% CI {interval}, ' if interval else ''}n={metric.n}{unscored})"


def _outcome(comparison: Comparison) -> str:
    name = comparison.metric
    unit = " points" if metric_info(name).proportion else ""
    difference = f"{format_value(name, comparison.difference, signed=True)}{unit}"
    interval = format_interval(name, comparison.low, comparison.high, signed=True)
    details = f"{difference}{f', 95% CI {interval}' if interval else ''}, adjusted {format_p(comparison.p_holm)}"
    if comparison.verdict == "not enough evidence":
        return f"Not enough evidence of a difference: {details}."
    return f"{comparison.verdict.capitalize()}: {details}."
