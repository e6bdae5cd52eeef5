"""The verb `improve`, the versions in `list`, the bench `improve`, with the fake foundation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from domains.example import Message
from domains.votes import Candidate, Votes
from experts.digests import weights_digest
from experts.improvement.history import History, Version
from experts.recipe import Improve
from tests.fakes_improvement import Digest
from ui.benches import improve as improve_bench
from ui.benches.improve import Arms, Case, basis, measure
from ui.cli import main
from ui.improvement_page import render
from ui.plots import lines

EXPERT = "toy/conversation"
TINY = {
    "threshold": 0.6, "prompts": 6, "steps": 2, "rank": 2, "max_attempts": 4, "max_new_tokens": 8,
    "learning_rate": 1e-2, "row_tokens": 128, "context_tokens": 256, "max_tasks": 6, "held_out_limit": 3,
}  # fmt: skip


@pytest.fixture
def home(built, tmp_path):
    """A copy of the finished build, which tests may change."""
    return shutil.copytree(built.home, tmp_path / "home")


def improve_options(home):
    given = [f"improve.{key}={json.dumps(value)}" for key, value in TINY.items()]
    return ["improve", EXPERT, "--home", str(home), "--json", *(part for item in given for part in ("--set", item))]


def test_improve_list_and_roll_back(home, capsys):
    """The fake model never meets the verifier, so its only lesson is a vote. Whether its version is in use or not, it
    is listed and can be put into use and back."""
    before = weights_digest(home / EXPERT)
    prompt = [Message("user", "How do I oil a squeaky door hinge?")]
    Votes.of_home(home).prefer(prompt, Candidate(EXPERT, "Use a drop of oil."), Candidate(EXPERT, "No idea."))
    assert main(improve_options(home)) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["verifiers"][0]["trusted"]
    assert result["threads"] == {"discarded": 6}
    assert (result["version"], result["lessons"]) == (1, {"vote": 1})
    assert "<svg" in (home / result["html"]).read_text()
    assert main(["list", "--home", str(home), "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    assert [name.partition(" ")[0] for name in versions] == [f"{EXPERT}@0", f"{EXPERT}@1"]
    assert main(["improve", EXPERT, "--home", str(home), "--rollback", "1", "--json"]) == 0
    assert weights_digest(home / EXPERT) != before
    assert main(["improve", EXPERT, "--home", str(home), "--rollback"]) == 0
    assert weights_digest(home / EXPERT) == before


def test_a_rollback_to_a_refused_version_warns(home, capsys):
    history = History.of(home, EXPERT)
    history.open()
    other = home / "toy" / "structured"
    history.add(lambda folder: copy_files(other, folder), Version(0, "", "", 0, promoted=False, note="It fell."))
    assert main(["improve", EXPERT, "--home", str(home), "--rollback", "1", "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["promoted"] is False
    assert "Warning: version 1 was not promoted: It fell." in found.err
    assert main(["improve", EXPERT, "--home", str(home), "--rollback", "0"]) == 0
    assert "Warning" not in capsys.readouterr().err


def copy_files(source, target):
    shutil.copytree(source, target, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy/conversatio"], "Did you mean 'toy/conversation'"),
        ([EXPERT, "--rollback"], "has no versions"),
        ([EXPERT, "--set", "improve.promts=3"], "improve"),
        ([EXPERT, "--set", 'improve.judges=["readability"]'], "has taught"),
        ([EXPERT, "--set", 'improve.verifiers=["reading_levels"]'], "reading_level"),
    ],
)
def test_what_a_user_can_fix_is_said_in_one_line(home, capsys, arguments, message):
    assert main(["improve", *arguments, "--home", str(home)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.slow
def test_the_bench_measures_four_arms_and_goes_on(home, monkeypatch):
    case = Case("toy", EXPERT, Improve(**TINY), limit=4, verifier=Digest())
    before = weights_digest(home / EXPERT)
    result = measure([case], [1, 2], home)
    rows = [row for row in result["rows"] if row["arm"] != "loop"]
    assert {(row["judge"], row["arm"]) for row in rows} == {
        (judge, arm) for judge in ("plain_safe_pass", "verifier_pass") for arm in ("before", "after", "best_of", "sft")
    }
    assert all(row["n"] == 4 and row["seeds"] == 2 for row in rows)
    cost = {row["arm"]: row for row in rows if row["judge"] == "verifier_pass"}
    assert cost["best_of"]["train_units"] == 0 < cost["after"]["train_units"]
    assert 0.5 * cost["after"]["train_units"] < cost["sft"]["train_units"] < 1.5 * cost["after"]["train_units"]
    assert cost["sft"]["attempt_units"] == cost["after"]["attempt_units"] > 0 == cost["best_of"]["attempt_units"]
    for row in cost.values():
        assert row["total_units"] == row["train_units"] + row["attempt_units"] + row["answer_units"]
    assert cost["best_of"]["answer_units"] > 3 * cost["before"]["answer_units"] > 0
    html = Path(result["html"]).read_text()
    assert html.count("<svg") == 3
    assert "pass rate, 95% intervals" in html
    assert cost["best_of"]["tokens_per_answer"] > 2 * cost["before"]["tokens_per_answer"]
    assert cost["best_of"]["pass_rate"] >= cost["before"]["pass_rate"]
    assert all(0 <= row["low"] <= row["pass_rate"] <= row["high"] <= 1 and row["low"] < row["high"] for row in rows)
    assert weights_digest(home / EXPERT) == before
    monkeypatch.setattr(Arms, "measured", None)  # what was measured is read, not measured again
    assert measure([case], [1, 2], home)["rows"] == result["rows"]


def test_the_bench_is_measured_anew_when_its_rules_change(home, monkeypatch):
    """The key of a result holds the rows, the rules and the verifier, not only the settings."""
    case = Case("toy", EXPERT, Improve(**TINY), limit=4, verifier=Digest())
    found = basis(case, home)
    assert basis(case, home) == found
    assert basis(replace(case, verifier=Digest("other")), home) != found
    monkeypatch.setattr(improve_bench, "DRAW_SEEDS", 7)
    assert basis(case, home) != found


def test_the_page_shows_nulls_and_escapes():
    check = {"measure": "<b>", "is_probe": True, "before": None, "after": None, "gain": None, "low": None, "high": None,
             "p_holm": None, "n": 0, "verdict": "not enough evidence", "holds": False}  # fmt: skip
    result = {
        "expert": "a<b>", "seed": 0, "promoted": False, "version": None, "from_version": 0, "reason": "Why?",
        "checks": [check], "threads": {}, "attempts": 0, "bursts": [], "staleness": 0, "lessons": {},
        "prequential": [], "signals": [], "verifiers": [], "held_out_signals": {"before": None, "after": None},
    }  # fmt: skip
    html = render(result)
    assert "&lt;b&gt;" in html
    assert "<b>" not in html.replace("<body>", "")
    assert "No safety probe" in html
    checks = [check, check | {"measure": "safety"}]
    assert "No safety probe" not in render(result | {"checks": checks})
    rolled_back = {"version": 3, "promoted": True, "in_use": False, "current": 2}
    assert "Version 2 is in use now." in render(result | rolled_back)
    assert "took 12% of the adapter" in render(result | {"lost_by_rank": 0.123})


def test_lines_leave_gaps_and_take_one_value():
    plot = lines({"a": [0.1, None, 0.3], "b": [0.2]}, "c", "x", "y")
    assert plot.count("<circle") == 3
    assert lines({"a": [1.0]}, "c", "x", "y").count("<circle") == 1
