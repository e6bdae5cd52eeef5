"""Calibration as stages: measured once, shared by domains, again when the judge, its settings or the probes change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from domains.domain import Domain
from judges.probes import Probe, load_probes
from judges.report import Report
from judges.scorers.llm_judge import Judge as LlmJudge
from judges.scoring import load_judges
from judges.verdict import Answered, Verdict
from router.calibrations import WEAK, Effort, calibration_stage, judge_digest, judge_records, probes_of
from tests.fakes_judges import Body, said, scripted_endpoint

BETTER = {probe.better for probe in load_probes()}


@dataclass(frozen=True)
class Counting:
    """A judge that knows the better answers; `calls` counts how often it is asked."""

    calls: list[int]
    setting: int = 0

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Counting:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"Counting({self.setting})"

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        self.calls.append(len(rows))
        return [Verdict(float(row.answer in BETTER), "planted") for row in rows]


def records(
    home: Path, judges: dict[str, Any], domain: str = "mortgage", effort: Effort = WEAK
) -> list[dict[str, Any]]:
    return judge_records(home, domain, judges, effort, lambda line: None)


def test_a_second_run_is_free_also_in_another_domain(tmp_path: Path):
    calls: list[int] = []
    (first,) = records(tmp_path, {"politeness": Counting(calls)})
    again = records(tmp_path, {"politeness": Counting(calls)}, "caregiving")
    assert again == [first]
    assert len(calls) == 1
    assert first["trusted"] is True
    records(tmp_path, {"politeness": Counting(calls, setting=1)})
    assert len(calls) == 2


def test_a_judge_with_a_domain_s_own_rules_is_tested_in_each(tmp_path: Path):
    for name in ("mortgage", "caregiving"):
        judges = load_judges(["safety"], Domain.load(name))
        (found,) = records(tmp_path, judges, name)
        assert found["trusted"] is True
        assert found["n"] >= 8
    assert {path.name for path in (tmp_path / "judges").iterdir() if path.is_dir()} == {
        "safety-mortgage",
        "safety-caregiving",
    }


def test_a_judge_without_probes_is_not_trusted(tmp_path: Path):
    (found,) = records(tmp_path, load_judges(["exact"], None))
    assert (found["trusted"], found["n"]) == (False, 0)
    assert "no probe" in found["reason"]


def script(body: Body) -> tuple[int, Body]:
    """A judge that knows: pointwise 5 for better answers and 2 for others, pairwise the side of the better one."""
    user = body["messages"][1]["content"]
    if "[ANSWER A " in user:
        first = user.split("[ANSWER A ", 1)[1].split("[END", 1)[0]
        side = "A" if any(quoted(text) in first for text in BETTER) else "B"
        return said(f'{{"reason": "r", "winner": "{side}"}}')
    return said(f'{{"reason": "r", "score": {5 if any(quoted(text) in user for text in BETTER) else 2}}}')


def quoted(text: str) -> str:
    """The first line of a text as it stands in a fence."""
    return f"> {text.splitlines()[0]}\n"


def test_the_weak_llm_judge_costs_twelve_probes_and_four_pairs(tmp_path: Path):
    """12 probes are 24 requests, 4 pairs in both orders 8, and one finds out how to ask: 33. Then none."""
    with scripted_endpoint(script) as endpoint:
        judge = LlmJudge(base_url=endpoint.url, identity="m", cache=str(tmp_path / "cache"))
        (found,) = records(tmp_path, {"llm_judge": judge})
        assert len(endpoint.requests) == 33
        assert records(tmp_path, {"llm_judge": judge}) == [found]
        assert len(endpoint.requests) == 33
    assert (found["n"], found["agreement"], found["position_flip_rate"]) == (12, 1.0, 0.0)
    assert found["trusted"] is True


def test_the_llm_judge_gets_the_probes_of_its_rubrics():
    empathy = probes_of("llm_judge", LlmJudge(rubric="empathy"), "mortgage", Effort())
    assert {"empathy"} <= set.intersection(*(set(probe.applies_to) for probe in empathy.all))
    everything = probes_of("llm_judge", LlmJudge(), "mortgage", Effort())
    assert len(everything.all) > 90
    assert len(probes_of("llm_judge", LlmJudge(), "mortgage", Effort(12)).all) == 12


def test_the_digest_follows_the_judge():
    judge = LlmJudge(base_url="http://127.0.0.1:9/v1", model="m")
    other = LlmJudge(base_url="http://127.0.0.1:9/v1", model="n")
    assert judge_digest("llm_judge", judge) == judge_digest(
        "llm_judge", LlmJudge("overall", "http://127.0.0.1:9/v1", "m")
    )
    assert judge_digest("llm_judge", judge) != judge_digest("llm_judge", other)
    rules = [load_judges(["safety"], Domain.load(name))["safety"] for name in ("mortgage", "caregiving")]
    assert judge_digest("safety", rules[0]) != judge_digest("safety", rules[1])


def test_a_stage_that_failed_is_run_again(tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        records(tmp_path, {"empathy": lambda rows: 1 // 0})
    assert not calibration_stage(tmp_path, "mortgage", "empathy", Counting([]), WEAK).done
    (found,) = records(tmp_path, {"empathy": Counting([])})
    assert found["trusted"] is True


def test_the_report_takes_the_records(tmp_path: Path):
    found = records(tmp_path, load_judges(["exact", "readability"], None))
    report = Report(domain="d", title="D", arms={}, rows=[], judges=found)
    assert report.untrusted == ("exact",)
    assert [judge["judge"] for judge in report.as_dict()["judges"]] == ["exact", "readability"]


def test_a_calibration_that_a_spent_budget_cut_short_is_done_again(tmp_path: Path):
    with scripted_endpoint(script) as endpoint:
        judge = LlmJudge(base_url=endpoint.url, identity="m", cache=str(tmp_path / "cache"), concurrency=1)
        (cut,) = records(tmp_path, {"llm_judge": replace(judge, max_calls=9)})
        assert cut["n"] < 12
        (found,) = records(tmp_path, {"llm_judge": judge})
        assert (found["n"], found["trusted"]) == (12, True)
        num_asked = len(endpoint.requests)
        assert num_asked == 33  # none twice
        records(tmp_path, {"llm_judge": judge})
        assert len(endpoint.requests) == num_asked


def own(count: int, better: str = "right") -> list[Probe]:
    """Probes of a domain; `Counting` never prefers an answer of theirs, unless it is among the shipped better ones."""
    return [Probe(f"own-{n}", "", "", ("politeness",), f"Q{n}?", better, f"wrong {n}") for n in range(count)]


def test_a_domain_s_own_probes_are_shown_beside_the_shipped_ones(tmp_path: Path):
    """They are counted together and for themselves; the stage is the domain's then."""
    better = next(iter(BETTER))
    (alone,) = records(tmp_path, {"politeness": Counting([])})
    (found,) = judge_records(tmp_path, "toy", {"politeness": Counting([])}, WEAK, print, own(4, better))
    assert found["n"] == alone["n"] + 4
    assert (found["own"]["agreement"], found["own"]["n"], found["trusted"]) == (1.0, 4, True)
    assert "On the domain's own probes right on 4 of 4." in found["reason"]
    assert "own" not in alone
    assert {path.name for path in (tmp_path / "judges").iterdir() if path.is_dir()} == {"politeness", "politeness-toy"}


def test_only_probes_of_the_judge_are_its_own(tmp_path: Path):
    (found,) = judge_records(tmp_path, "toy", {"empathy": Counting([])}, WEAK, print, own(4))
    assert "own" not in found


def test_the_llm_judge_gets_a_choice_of_a_domain_s_own_probes():
    judge = LlmJudge(rubric="politeness")
    assert len(probes_of("llm_judge", judge, "toy", Effort(12), own(30)).own) == 12
    named = [replace(probe, applies_to=("llm_judge",)) for probe in own(3)]
    assert len(probes_of("llm_judge", judge, "toy", Effort(12), named).own) == 3
