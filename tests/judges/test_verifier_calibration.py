"""The gate: a verifier that passes good and fails bad answers is trusted; every other one is refused with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message
from judges.verifier import Condition, Critique, Task, load_verifier
from judges.verifier_calibration import (
    DEFAULT,
    FILE,
    Planted,
    calibrate,
    calibrate_by_name,
    probes_of,
    read_planted,
    require_panel,
    require_trusted,
)
from tests.fakes import write_jsonl

TASK = Task("t", (Message("user", "Say yes."),))


@dataclass(frozen=True)
class Scripted:
    """Gives each answer the score that its text has; "?" cannot be judged."""

    name: str = "scripted"

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        return (Condition("only", "Is it good?"),)

    def judge(self, task: Task, conditions: Sequence[Condition], answer: str) -> Critique | None:
        return None if answer.startswith("?") else Critique((float(answer.split(maxsplit=1)[0]),), "")


def planted(*pairs: tuple[str, str]) -> list[Planted[str]]:
    return [Planted(str(place), TASK, good, bad) for place, (good, bad) in enumerate(pairs)]


def test_right_on_all_is_trusted():
    """Ten of ten; the longer answer is bad in all, so that the rule is right on none: p = 2^-10."""
    found = calibrate(Scripted(), planted(*[("1", "0 and long")] * 10))
    assert (found.n, found.good_passed, found.bad_failed, found.agreement, found.trusted) == (10, 1.0, 1.0, 1.0, True)
    require_trusted([found])


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("0.4", "0.3 long")] * 10, "passes only 0% of the planted good"),
        ([("1", "0.6 long")] * 10, "fails only 0% of the planted bad"),
        ([("1", "0 long")] * 3, "chance"),
        ([("1 and longer", "0")] * 10, "longer answer wins"),
        ([("1", "?")] * 10, "no planted answer could be judged"),
        ([("1", "? long")] * 6 + [("1", "0 long")] * 5, "Only 5 of 11"),
        ([], "no planted answer could be judged"),
    ],
)
def test_everything_else_is_refused(pairs, reason):
    found = calibrate(Scripted(), planted(*pairs))
    assert not found.trusted
    assert reason in found.reason
    with pytest.raises(UserError, match="scripted"):
        require_trusted([found])


def test_the_rule_of_acceptance_is_that_of_the_loop():
    """At a threshold of 0.9 the answers with 0.8 are no longer good ones."""
    probes = planted(*[("0.8", "0.1 long")] * 10)
    assert calibrate(Scripted(), probes).trusted
    assert calibrate(Scripted(), probes, accepts=lambda scores: min(scores) >= 0.9).good_passed == 0.0


@pytest.mark.parametrize("name", ["arithmetic", "json_schema", "reading_level"])
def test_the_rule_verifiers_pass_all_of_their_probes(name):
    """They were written with these probes at hand, so this is no estimate of how good they are on others."""
    (found,) = calibrate_by_name([name], None)
    assert (found.good_passed, found.bad_failed, found.trusted) == (1.0, 1.0, True)


@pytest.mark.parametrize("domain", ["mortgage", "caregiving"])
def test_the_safety_verifier_of_each_domain(domain):
    (found,) = calibrate_by_name(["safety"], Domain.load(domain))
    assert found.trusted
    assert found.n >= 8


def test_together_they_fail_what_one_alone_fails():
    """Under a mean over conditions, four that reading level meets outweigh one that safety misses."""
    domain = Domain.load("caregiving")
    names = ("safety", "reading_level")
    require_panel(names, domain)
    with pytest.raises(UserError, match="Together"):
        require_panel(names, domain, lambda scores: fmean(scores) >= 0.5)
    require_panel(names[:1], domain, lambda scores: True)


def test_verifiers_of_other_facts_are_a_panel():
    """A calculation has no schema and a question no numbers: each probe is shown to those that can judge its task."""
    require_panel(("arithmetic", "reading_level"), Domain.load("mortgage"), lambda scores: min(scores) >= DEFAULT)


def test_the_bad_answers_of_each_must_fail():
    """Under a mean of 0.8, 21 of the 24 planted bad answers fail, but only 7 of the 10 of json_schema."""
    with pytest.raises(UserError, match="only 70% of the planted bad answers of json_schema"):
        require_panel(("arithmetic", "json_schema"), None, lambda scores: fmean(scores) >= DEFAULT)


def test_a_panel_that_can_judge_no_bad_answer_is_refused():
    """Without rules safety judges nothing, and a panel judges what all of its members judge."""
    with pytest.raises(UserError, match="none of the planted bad answers of reading_level"):
        require_panel(("reading_level", "safety"), None)


def test_without_rules_safety_is_refused():
    (found,) = calibrate_by_name(["safety"], None)
    assert not found.trusted


def test_probes_are_bound_to_the_domain_where_the_verifier_is():
    safety = {probe.id.partition("-")[0] for probe in probes_of("safety", Domain.load("mortgage"))}
    assert safety == {"mortgage"}


def test_the_shipped_probes():
    """Enough of each to be told from chance, ids once, and the bad answers of several kinds."""
    rows = read_planted(FILE)
    for verifier in {name for name, _ in rows}:
        own = [probe for name, probe in rows if name == verifier]
        assert len(own) >= 10
        assert len({probe.kind for probe in own}) >= 3
        assert load_verifier(verifier, None).conditions(own[0].task)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"good": None}, "good"), ({"bad": 5}, "bad"), ({"facts": []}, "facts"), ({"request": " "}, "request")],
)
def test_bad_rows_of_a_file_of_probes_are_refused(tmp_path, change, field):
    row = {"id": "a", "verifier": "safety", "request": "Q?", "good": "Yes.", "bad": ""}
    assert len(read_planted(write_jsonl(tmp_path / "good.jsonl", [row]))) == 1
    with pytest.raises(UserError, match=field):
        read_planted(write_jsonl(tmp_path / "bad.jsonl", [row | change]))
