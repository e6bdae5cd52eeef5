"""Trust rests on probes that a judge's head has not seen; a domain's own probes count, and can take trust away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.readers import rows
from domains.splits import split_of
from domains.validate import validate
from judges.heads.trained_on import FOLDER, TEXTS, seen, trained_texts
from judges.pairwise import Pair, PairVerdict
from judges.probe_sets import Agreement, ProbeSet, calibrate_set
from judges.probes import Probe, load_probes, own_probes
from judges.verdict import Answered, Verdict
from tests.fakes import write_domain, write_jsonl

ROW = {"id": "o1", "applies_to": ["empathy"], "question": "Q?", "better": "I see how hard it is.", "worse": "So what."}


@dataclass(frozen=True)
class Fond:
    """A judge that gives 1 to some answers and 0 to all others."""

    of: frozenset[str]

    @classmethod
    def for_domain(cls, domain: Any) -> Fond:
        raise NotImplementedError

    def __call__(self, given: Sequence[Answered]) -> list[Verdict]:
        return [Verdict(float(row.answer in self.of), "planted") for row in given]


def probes(count: int, prefix: str) -> tuple[Probe, ...]:
    """Probes of which every other one has the longer answer as the better one."""
    return tuple(
        Probe(f"{prefix}{n}", "", "", ("empathy",), f"{prefix} question {n}?", f"{prefix} good {n}" + " more" * (n % 2),
              f"{prefix} bad {n} more")
        for n in range(count)
    )  # fmt: skip


def fond_of(*kept: Probe) -> Fond:
    return Fond(frozenset(probe.better for probe in kept))


def trained(judge: str) -> list[str]:
    """Answers of the rows that the head was fitted on."""
    name, fields = TEXTS[judge]
    given = [json.loads(line) for _, line in rows(FOLDER / name)]
    return [row[fields[-1]] for row in given if split_of(row["id"].partition("-")[0]) != "test"]


@pytest.mark.parametrize("judge", TEXTS)
def test_a_probe_with_a_text_of_the_training_data_is_seen(judge: str):
    """A whole text, and one with a word more; another text is not seen, and a judge without a head has seen nothing."""
    text = max(trained(judge), key=len)
    told = Probe("a", "", "", (judge,), "What now?", text, "No.")
    near = replace(told, better="Yes.", worse=f"{text} Okay.")
    other = replace(told, better="The kettle stands beside the violin in our pantry.")
    assert seen(judge, [told, near, other]) == [True, True, False]
    assert seen("readability", [told, near]) == [False, False]


def test_test_rows_of_a_head_trained_nothing():
    held_out = [
        row["reply"]
        for _, line in rows(FOLDER / "empathy.jsonl")
        if split_of((row := json.loads(line))["id"].partition("-")[0]) == "test"
    ]
    assert held_out
    assert not set(held_out) & set(trained_texts("empathy"))


def test_no_shipped_probe_was_trained_on():
    for judge in TEXTS:
        chosen = [probe for probe in load_probes() if judge in probe.applies_to]
        assert chosen
        assert not any(seen(judge, chosen))


def test_seen_probes_give_no_trust_and_take_none():
    """Right on 20 seen and wrong on 10 unseen is not trusted; the other way round it is, by the unseen alone."""
    known, unknown = probes(20, "seen"), probes(10, "unseen")
    found = calibrate_set("empathy", fond_of(*known), ProbeSet(unknown, (), known))
    assert (found["trusted"], found["agreement"], found["n"]) == (False, 0.0, 10)
    assert (found["seen"]["agreement"], found["seen"]["n"]) == (1.0, 20)
    assert "No evidence, because its head was trained on them: 20 probes, right on 20 of 20." in found["reason"]
    found = calibrate_set("empathy", fond_of(*unknown), ProbeSet(unknown, (), known))
    assert (found["trusted"], found["agreement"], found["n"]) == (True, 1.0, 10)


def test_what_the_training_data_say_is_set_apart():
    text = max(trained("empathy"), key=len)
    unknown = probes(3, "x")
    known = (replace(unknown[0], id="y", better=text),)
    found = ProbeSet.of("empathy", (*unknown, *known), (replace(known[0], id="z"),))
    assert [probe.id for probe in found.unseen] == ["x0", "x1", "x2"]
    assert [probe.id for probe in found.seen] == ["y", "z"]
    assert ProbeSet.of("readability", known).seen == ()


def test_own_probes_can_take_trust_away():
    """30 shipped right; of 4 own none is worse than chance (Wilson ends at 49%), of 3 it is not (56%)."""
    shipped = probes(30, "shipped")
    for count, trusted in ((4, False), (3, True)):
        own = probes(count, "own")
        found = calibrate_set("empathy", fond_of(*shipped), ProbeSet(shipped, own))
        assert (found["trusted"], found["own"]["n"], found["n"]) == (trusted, count, 30 + count)
        assert ("Worse than chance on the domain's own probes" in found["reason"]) != trusted


def test_own_probes_alone_can_give_trust():
    own = probes(10, "own")
    found = calibrate_set("safety", fond_of(*own), ProbeSet((), own))
    assert (found["trusted"], found["own"]["agreement"]) == (True, 1.0)


def test_an_agreement_leaves_unscored_probes_out():
    assert Agreement.of(()) == Agreement(None, None, None, 0)


def test_pairs_are_counted_in_the_same_sets():
    """A judge of pairs that always flips ties on all: no agreement, and flips among the unseen only."""

    class Flips:
        def __call__(self, pairs: Sequence[Pair]) -> list[PairVerdict]:
            return [PairVerdict("tie", True, "") for _ in pairs]

    from judges.pairwise import PairwiseJudge
    from judges.scorers.llm_judge import Judge

    chosen = ProbeSet(probes(6, "a"), probes(2, "b"), probes(3, "c"))
    found = calibrate_set("llm_judge_pairwise", PairwiseJudge(Judge()), chosen, watched=lambda judge: Flips())
    assert (found["n"], found["agreement"], found["position_flip_rate"]) == (8, 0.0, 1.0)
    assert (found["own"]["n"], found["seen"]["n"]) == (2, 3)
    assert len(chosen.first(2).all) == 6


def test_a_domain_s_file_is_read_and_checked(tmp_path: Path):
    folder = write_domain(tmp_path / "toy")
    assert own_probes(Domain.load(folder)) == ()
    write_jsonl(folder / "probes.jsonl", [ROW, ROW | {"id": "o2", "kind": "cold", "reference": "R"}])
    first, second = own_probes(Domain.load(folder))
    assert (first.better, first.kind, first.reference, second.reference) == (ROW["better"], "", None, "R")
    checked = validate(str(folder))
    assert (checked.ok, checked.warnings, checked.counts["probes.jsonl"]) == (True, (), 2)
    write_jsonl(folder / "probes.jsonl", [ROW | {"applies_to": ["empaty"]}])
    with pytest.raises(UserError, match="Did you mean 'empathy'"):
        own_probes(Domain.load(folder))
