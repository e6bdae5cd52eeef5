"""The tables of the report page: columns and lines of text, each line with what the page's filters need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from judges.comparisons import Comparison
from judges.headlines import arm_title, format_interval, format_p, format_value
from judges.metrics import metric_info
from judges.report import Report

ROUTINGS = {
    "oracle": "oracle (always the right expert)",
    "router": "router (the expert that it chose)",
    "wrong": "wrong (never the right expert)",
}
UNSURE = "not enough evidence"


@dataclass(frozen=True)
class Line:
    """Cells of text; `verdict`, `arms` and `kind` are what the filters look at (empty: always shown)."""

    cells: tuple[str, ...]
    verdict: str = ""
    arms: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A captioned table; the first cell of a line is its header, a cell that is a verdict is coloured as one."""

    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def comparisons(report: Report) -> Table:
    """Every comparison with all that its verdict rests on."""
    columns = ("Arms", "Metric", *DETAILS, "Effect size", "Wins / ties / losses", "Verdict")
    lines = [
        Line(
            (
                f"{arm_title(c.arm_a)} – {arm_title(c.arm_b)}",
                metric_info(c.metric).title,
                *details(c),
                effect(c),
                f"{c.wins} / {c.ties} / {c.losses}",
                decision(c.verdict, c.trusted),
            ),
            c.verdict,
            (c.arm_a, c.arm_b),
        )
        for c in report.comparisons
    ]
    return Table("All comparisons", columns, tuple(lines))


def decision(verdict: str, trusted: bool) -> str:
    """A verdict, or that its judge has none to give."""
    return verdict if trusted else "judge not trusted"


DETAILS = ("Difference", "95% CI", "Adjusted p", "n", "Detectable from")


def details(c: Comparison) -> tuple[str, ...]:
    """Difference, interval, adjusted p, n with clusters, minimum detectable effect."""
    return (
        format_value(c.metric, c.difference, signed=True),
        format_interval(c.metric, c.low, c.high, signed=True) or "–",
        p_value(c.p_holm),
        str(c.n) if c.clusters in (0, c.n) else f"{c.n} in {c.clusters} conversations",
        detectable(c.metric, c.mde),
    )


def detectable(metric: str, mde: float | None) -> str:
    """The smallest difference that would be found; a dash where none would."""
    return "–" if mde is None else format_value(metric, mde).rstrip("%")


def effect(c: Comparison) -> str:
    """The effect size with its scale."""
    return f"{number(c.effect)} ({c.effect_kind})" if c.effect is not None else "–"


def win_rates(report: Report) -> Table:
    """Raw win rates and those at equal length."""
    columns = ("Arms", "Metric", "Wins", "Wins at equal length", "95% CI", "n", "Judge")
    lines = [
        Line(
            (
                f"{arm_title(r['arm_a'])} over {arm_title(r['arm_b'])}",
                metric_info(r["metric"]).title,
                percent(r["raw"]),
                percent(r["controlled"]),
                percents(r["low"], r["high"]),
                str(r["n"]),
                decision("trusted", r.get("trusted", True)),
            ),
            arms=(r["arm_a"], r["arm_b"]),
        )
        for r in report.length_controlled
    ]
    return Table("Share of items on which the first arm scores higher; ties count half", columns, tuple(lines))


def pairs(report: Report) -> Table:
    """What the LLM judge said of pairs of answers."""
    columns = (
        "Arms", "Pairs", "Won / tied / lost", "Wins", "95% CI", "Wins at equal length", "95% CI",
        "Verdict changed with the order", "95% CI", "Judge",
    )  # fmt: skip
    lines = [
        Line(
            (
                f"{arm_title(r.arm_a)} over {arm_title(r.arm_b)}",
                f"{r.n}, {r.unscored} unscored" if r.unscored else str(r.n),
                f"{r.wins} / {r.ties} / {r.losses}",
                percent(r.win_rate),
                percents(r.low, r.high),
                percent(r.controlled),
                percents(r.controlled_low, r.controlled_high),
                percent(r.flip_rate),
                percents(r.flip_low, r.flip_high),
                "trusted" if r.trusted else "not trusted, decides nothing",
            ),
            arms=(r.arm_a, r.arm_b),
        )
        for r in report.pairs
    ]
    caption = "Answers of two arms to the same questions, compared by the LLM judge in both orders"
    return Table(caption, columns, tuple(lines))


def subgroups(report: Report) -> Table:
    """The claims within groups of items."""
    columns = ("Arms", "Metric", "Group", *DETAILS, "Verdict")
    lines = [
        Line(
            (
                f"{arm_title(s.comparison.arm_a)} – {arm_title(s.comparison.arm_b)}",
                metric_info(s.comparison.metric).title,
                f"{s.key}: {s.group}",
                *details(s.comparison),
                decision(s.comparison.verdict, s.comparison.trusted),
            ),
            s.comparison.verdict,
            (s.comparison.arm_a, s.comparison.arm_b),
            s.group if s.key == "kind" else "",
        )
        for s in report.subgroups
    ]
    return Table("The claims within groups of items", columns, tuple(lines))


def forgetting(report: Report) -> Table:
    """General ability after each step against before it."""
    columns = ("Step", "Probe", "Before", "After", *DETAILS, "Verdict")
    lines = [
        Line(
            (
                f"{arm_title(c.arm_b)} → {arm_title(c.arm_a)}",
                metric_info(c.metric).title,
                format_value(c.metric, c.value_b),
                format_value(c.metric, c.value_a),
                *details(c),
                decision(c.verdict, c.trusted),
            ),
            c.verdict,
            (c.arm_a, c.arm_b),
        )
        for c in report.forgetting
    ]
    return Table("General probes before and after each training step; “worse” is forgotten", columns, tuple(lines))


def regret(records: Sequence[Mapping[str, Any]]) -> Table:
    """What each routing policy costs."""
    columns = ("Policy", "Answer quality", "Oracle", "Policy", "Regret", "95% CI", "Adjusted p", "n", "Policy is")
    lines = [
        Line(
            (
                ROUTINGS.get(str(r["policy"]), str(r["policy"])),
                metric_info(r["metric"]).title,
                format_value(r["metric"], r["oracle"]),
                format_value(r["metric"], r["quality"]),
                format_value(r["metric"], r["regret"], signed=True),
                format_interval(r["metric"], r["low"], r["high"], signed=True) or "–",
                p_value(r["p_holm"]),
                str(r["n"]),
                decision(r["verdict"], r.get("trusted", True)),
            ),
            r["verdict"],
        )
        for r in records
    ]
    return Table("Regret: the oracle's answer quality minus the policy's, paired by request", columns, tuple(lines))


def contamination_files(found: Mapping[str, Any]) -> Table:
    """How many test rows of each file were checked and flagged."""
    lines = [Line((f["file"], str(f["rows"]), str(f["flagged"]))) for f in found.get("files", ())]
    return Table("Test rows by file", ("File", "Test rows", "Also in training"), tuple(lines))


def contamination_rows(found: Mapping[str, Any]) -> Table:
    """The flagged rows."""
    columns = ("Test row", "Training row", "Kind", "Overlap", "Shared text")
    lines = [
        Line(
            (
                f"{r['test_file']} {r['test_id']}",
                f"{r['train_file']} {r['train_id']}",
                r["kind"],
                percent(r["overlap"]),
                r["shared"] or "–",
            )
        )
        for r in found.get("rows", ())
    ]
    return Table("Test rows that share text with a training row", columns, tuple(lines))


def memorisation(records: Sequence[Mapping[str, Any]]) -> Table:
    """How models continue passages that were trained on and held-out ones."""
    columns = (
        "Arm", "Passages, trained / held-out", "Exact tokens, trained", "Exact tokens, held-out", "Longest",
        "Loss, trained", "Loss, held-out", "Ratio", "Extra fall on trained", "95% CI", "p", "Verdict",
    )  # fmt: skip
    lines = [
        Line(
            (
                arm_title(r["arm"]),
                f"{r['num_trained']} / {r['num_held_out']}",
                number(r["exact_tokens_trained"]),
                number(r["exact_tokens_held_out"]),
                str(r["longest_exact"]),
                number(r["loss_trained"]),
                number(r["loss_held_out"]),
                number(r["loss_ratio"]),
                number(r["excess"], signed=True),
                f"{number(r['low'], True)} to {number(r['high'], True)}" if r["low"] is not None else "–",
                p_value(r["p"]),
                r["verdict"] if r["excess"] is not None else "–",
            ),
            r["verdict"] if r["excess"] is not None else "",
            (r["arm"],),
        )
        for r in records
    ]
    return Table("Memorisation: continuing 32 tokens of a document (loss in nats per token)", columns, tuple(lines))


def calibration(judges: Sequence[Mapping[str, Any]]) -> Table:
    """Each judge on known better and worse answers."""
    columns = (
        "Judge", "Agreement", "95% CI", "n", "Flips with the order", "Length bias", "“Longer wins” agrees", "Trusted",
        "Reason",
    )  # fmt: skip
    lines = [
        Line(
            (
                str(j.get("judge", "")),
                percent(j.get("agreement")),
                percents(j.get("low"), j.get("high")),
                str(j.get("n", "–")),
                percent(j.get("position_flip_rate")),
                number(j.get("length_bias"), signed=True),
                percent(j.get("longer_wins")),
                "trusted" if j.get("trusted") else "not trusted",
                str(j.get("reason") or "–"),
            )
        )
        for j in judges
    ]
    return Table("Judges on the probe set: pairs whose better answer is known", columns, tuple(lines))


def people(judges: Sequence[Mapping[str, Any]]) -> Table:
    """Each judge against people's choices, and the people against each other."""
    columns = ("Judge", "Kappa", "95% CI", "Pairs", "Labels", "Agreement", "95% CI", "n")
    held = [(str(j.get("judge", "")), j["people"]) for j in judges if j.get("people")]
    lines = [
        Line(
            (
                name,
                *kappa_cells(found["kappa"]),
                str(found["num_labels"]),
                percent(found["agreement"]),
                percents(found["low"], found["high"]),
                str(found["n"]),
            )
        )
        for name, found in held
    ]
    between = held[0][1]["people"] if held else ()
    lines += [Line((f"{b['first']} and {b['second']} (people)", *kappa_cells(b), "–", "–", "–", "–")) for b in between]
    return Table("Judges against people’s blind choices between two answers", columns, tuple(lines))


def kappa_cells(kappa: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kappa, its interval, and the pairs that it is over."""
    low, high = kappa["low"], kappa["high"]
    interval = f"{number(low)} to {number(high)}" if low is not None and high is not None else "–"
    return number(kappa["value"]), interval, str(kappa["n"])


def p_value(p: float | None) -> str:
    """A p-value under a heading that says so."""
    return "–" if p is None else format_p(p).removeprefix("p = ").removeprefix("p ")


def percent(value: Any) -> str:
    """A share in percent."""
    return f"{100 * value:.0f}%" if is_number(value) else "–"


def percents(low: Any, high: Any) -> str:
    """An interval of shares."""
    return f"{100 * low:.0f}–{100 * high:.0f}%" if is_number(low) and is_number(high) else "–"


def number(value: Any, signed: bool = False) -> str:
    """Two decimals."""
    if not is_number(value):
        return "–"
    return (f"{value:+.2f}" if signed else f"{value:.2f}").replace("-", "−")


def is_number(value: Any) -> bool:
    """A number, and no yes/no value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
