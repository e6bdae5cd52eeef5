"""The whole path with fakes: a built expert of two layers, a scripted verifier, a version, a decision, a rollback."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.torch import load_file, save_file

from domains.errors import UserError
from domains.example import Message, SafetyRule
from domains.votes import Candidate, Votes
from experts.digests import weights_digest
from experts.expert import read_expert
from experts.improvement.history import History
from experts.improvement.registration import announce, finish
from experts.improvement.run import Improvement, improve
from experts.recipe import Improve
from judges.verifiers import llm_judge
from tests.fakes_improvement import Digest
from ui.improve_commands import told
from ui.improvement_page import write_page

EXPERT = "toy/conversation"


def settings(**changes):
    values = {
        "threshold": 0.6, "prompts": 6, "steps": 2, "rank": 2, "max_new_tokens": 8,
        "learning_rate": 1e-2, "row_tokens": 128, "context_tokens": 256,
    }  # fmt: skip
    return Improve(**(values | changes))


@pytest.fixture
def home(built, tmp_path):
    """A copy of the finished build, which tests may change."""
    return shutil.copytree(built.home, tmp_path / "home")


def run_of(home, seed=0, **changes):
    lines = []
    return Improvement(home, EXPERT, settings(**changes), seed, lines.append, verifier=Digest())


def test_an_expert_improves_is_promoted_and_rolled_back(home):
    live = home / EXPERT
    before = weights_digest(live)
    result = improve(run_of(home))
    history = History.of(home, EXPERT)
    assert result["promoted"]
    assert result["threads"].get("learnt", 0) > 0
    assert sum(result["threads"].values()) == len(run_of(home).tasks)
    assert (result["version"], history.current) == (1, 1)
    assert weights_digest(live) == weights_digest(history.version_folder(1)) != before
    assert json.loads((live / "expert.json").read_text())["parents"]["improved_from"] == before
    assert {check["measure"] for check in result["checks"]} >= {"plain_safe", "instruction_following", "safety"}
    assert {arm: found["n"] for arm, found in result["held_out_signals"].items()} == dict.fromkeys(
        ("before", "after"), len(run_of(home).examples)
    )
    page = write_page(result, home).read_text()
    assert "before and after" in page
    assert page.count("<svg") >= 6
    history.use(history.before())
    assert weights_digest(live) == before
    assert improve(run_of(home))["version"] == 1  # the same run, finished before


def double(folder):
    """Change an adapter's weights."""
    path = folder / "adapter_model.safetensors"
    save_file({name: 2 * tensor for name, tensor in load_file(path).items()}, path)


def ended(run, name, adapter, promoted, reason="It fell."):
    """The result of a run of this name that came to an adapter; called again, as after a kill before result.json."""
    folder = run.folder / f"run-{name}"
    result = {"promoted": promoted, "reason": reason, "checks": [], "from_version": run.version.number}
    announce(folder, result, adapter)
    return finish(folder, run.history)


def test_what_is_not_promoted_is_kept_and_not_used(home):
    """A planted refusal: the version is there, with its reason, and the expert is the one from before. Registering the
    same weights again adds nothing; once promoted they are used."""
    run, other = run_of(home), home / "toy" / "structured"
    before = weights_digest(home / EXPERT)
    refused = ended(run, "a", other, promoted=False)
    history = History.of(home, EXPERT)
    assert (refused["version"], refused["promoted"], history.current) == (1, False, 0)
    assert weights_digest(home / EXPERT) == before
    assert ended(run, "b", other, promoted=False)["version"] == 1
    assert len(history.versions) == 2
    found = ended(run, "c", other, promoted=True, reason="It rose.")
    assert (found["version"], found["promoted"], history.current) == (1, True, 1)
    assert (history.versions[1].promoted, history.versions[1].note) == (True, "It rose.")
    assert weights_digest(home / EXPERT) == weights_digest(other) != before
    history.use(0)
    assert ended(run, "c", other, promoted=True, reason="It rose.")["version"] == 1
    assert (history.current, len(history.versions)) == (0, 2)


def test_a_version_is_not_used_when_another_was_put_into_use_meanwhile(home):
    """A run that began from version 1 ends after a rollback to 0. It stays so when the ending is finished again, also
    after its parent came back into use."""
    first, adapter = run_of(home), home / "toy" / "structured"
    ended(first, "a", adapter, promoted=True)
    run = run_of(home)
    assert run.version.number == 1
    history = History.of(home, EXPERT)
    history.use(0)
    before = weights_digest(home / EXPERT)
    third = shutil.copytree(adapter, home / "third")
    double(third)
    found = ended(run, "b", third, promoted=True, reason="It rose.")
    assert (found["version"], found["promoted"], history.current) == (2, False, 0)
    assert "version 0 was put into use meanwhile. It rose." in found["reason"]
    assert history.versions[2].note == found["reason"]
    assert not history.versions[2].promoted
    assert weights_digest(home / EXPERT) == before
    history.use(1)
    again = ended(run, "b", third, promoted=True, reason="It rose.")
    assert (again["version"], again["promoted"], history.current, len(history.versions)) == (2, False, 1, 3)


def test_a_version_is_not_used_when_the_expert_was_built_anew_meanwhile(home):
    run = run_of(home)
    assert run.version.number == 0
    double(home / EXPERT)
    before = weights_digest(home / EXPERT)
    found = ended(run, "a", home / "toy" / "structured", promoted=True)
    assert (found["version"], found["promoted"]) == (1, False)
    assert "built anew meanwhile" in found["reason"]
    assert weights_digest(home / EXPERT) == before


def test_a_version_has_the_base_of_its_parent(home):
    """Not that of the card which lies where the expert is used from."""
    run, card = run_of(home), home / EXPERT / "expert.json"
    parent = read_expert(run.history.version_folder(run.version.number))
    card.write_text(card.read_text().replace(f'"base": "{parent.base}"', '"base": "/nowhere"'))
    assert read_expert(home / EXPERT).base == "/nowhere"
    found = ended(run, "a", home / "toy" / "structured", promoted=True)
    made = read_expert(run.history.version_folder(found["version"]))
    assert (made.base, made.base_digest) == (parent.base, parent.base_digest)


def test_only_one_run_is_at_work_on_an_expert(home):
    run = run_of(home)
    run.folder.mkdir(parents=True)
    with FileLock(run.folder / ".lock"), pytest.raises(UserError, match="Another run"):
        improve(run_of(home))


def test_a_verifier_may_not_judge_what_it_taught(home):
    lines = []
    same = Improvement(home, EXPERT, settings(verifiers=("reading_level",), judges=("readability",)), 0, lines.append)
    with pytest.raises(UserError, match="has taught"):
        improve(same)


def test_an_expert_that_a_kill_left_without_its_folder_is_mended_first(home):
    """Killed between two renames, while a version was put into use."""
    before, record = weights_digest(home / EXPERT), (home / EXPERT / "stage.json").read_text()
    assert run_of(home).version.number == 0
    (home / EXPERT).rename(home / "toy" / ".conversation-old")
    with pytest.raises(UserError, match="has taught"):
        improve(run_of(home, judges=("digest",)))
    assert weights_digest(home / EXPERT) == before
    assert (home / EXPERT / "stage.json").read_text() == record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "dph", "settings": {}}, "improve.objective is 'dph'"),
        ({"objective": "s_dpoo"}, "s_dpo"),
        ({"settings": {"bta": 1}}, "do not fit objective 's_dpo'"),
        ({"settings": {"beta": 0}}, r"^improve\.settings\.beta is 0;"),
    ],
)
def test_an_objective_that_no_burst_could_train_with_is_refused_before_any_answer(home, changes, message):
    with pytest.raises(UserError, match=message):
        improve(run_of(home, **changes))
    assert not list(home.rglob("threads.jsonl"))


def test_votes_are_taken_for_conversation_and_where_the_settings_say_so(home):
    prompt = [Message("user", "How do I oil a squeaky old door hinge?")]
    Votes.of_home(home).prefer(prompt, Candidate(EXPERT, "Use a drop of oil."), Candidate(EXPERT, "No idea."))
    runs = run_of(home), run_of(home, votes=False), replace(run_of(home), name="toy/structured")
    assert [len(run.votes.rows) for run in runs] == [1, 0, 0]
    assert [run.replay.votes for run in runs] == [True, False, False]
    assert run_of(home, judges=("readability",)).replay.barred == {"readability", "reading_level"}


def test_votes_are_lessons_and_held_out_prompts_never_are(home):
    run = run_of(home)
    votes = Votes.of_home(home)
    free, held = "How do I oil a squeaky old door hinge?", run.examples[0].question
    for text in (free, held):
        prompt = [Message("user", text)]
        votes.prefer(prompt, Candidate(EXPERT, "Use a drop of oil."), Candidate(EXPERT, "No idea."))
    result = improve(run_of(home))
    assert result["votes"] == {"vote_rows": 1, "vote_rows_invalid": 0, "vote_rows_near_held_out": 1}
    assert result["lessons"]["vote"] == 1
    asked = {row["lesson"]["task"]["request"][-1]["content"] for row in run.replay.rows.values()}
    assert free in asked
    assert not asked & {example.question for example in run.examples}


def test_several_workers_are_averaged_and_the_background_is_not_staler_than_allowed(home):
    result = improve(run_of(home, workers=2, mode="async", max_staleness=2))
    assert result["staleness"] <= 2
    assert all(burst["metrics"]["workers"] in (1, 2) for burst in result["bursts"])
    assert len(result["bursts"]) > 0


def test_only_a_built_expert_improves(home):
    with pytest.raises(UserError, match="Did you mean 'toy/conversation'"):
        improve(Improvement(home, "toy/conversatio", settings(), 0, print, verifier=Digest()))


def test_after_a_rollback_the_stored_result_says_which_version_is_in_use(home):
    result = improve(run_of(home))
    assert (result["version"], result["current"], result["in_use"]) == (1, 1, True)
    History.of(home, EXPERT).use(0)
    again = improve(run_of(home))
    assert (again["version"], again["current"], again["in_use"]) == (1, 0, False)
    assert again["threads"] == result["threads"]
    assert "not in use: version 0 is" in " ".join(told(again, home))


class Killed(BaseException):
    """What a kill is to the code that it strikes."""


@pytest.fixture
def kill_in_promotion(monkeypatch):
    """A run that is killed before or after its version is made, and before result.json."""
    add = History.add

    def killed_run(run, place):
        def killed(history, write, version):
            if place == "after":
                add(history, write, version)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(History, "add", killed)
            with pytest.raises(Killed):
                improve(run)

    return killed_run


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_kill_around_the_promotion_loses_no_result(home, kill_in_promotion, place):
    """The same command tells what the run came to, and makes no second version."""
    kill_in_promotion(run_of(home), place)
    result = improve(run_of(home))
    history = History.of(home, EXPERT)
    assert result["promoted"]
    assert (result["version"], result["in_use"], history.current, len(history.versions)) == (1, True, 1, 2)
    assert result["threads"].get("learnt", 0) > 0
    assert json.loads((Path(result["folder"]) / "result.json").read_text())["version"] == 1
    assert not list(home.rglob("pending.json"))


def test_a_rollback_before_a_killed_ending_is_finished_stands(home, kill_in_promotion):
    kill_in_promotion(run_of(home), "after")
    History.of(home, EXPERT).use(0)
    result = improve(run_of(home))
    assert (result["version"], result["in_use"], result["current"]) == (1, False, 0)


def test_other_rules_rows_or_judges_make_another_run(home, monkeypatch):
    """The folder's name covers safety rules, the verifier with the judging model of the environment, held-out rows, and
    the tasks with their facts and system prompts."""

    def names():
        run = run_of(home)
        llm = replace(run, verifier=llm_judge.Verifier.for_domain(run.domain))
        return run, run.run_folder, llm.run_folder

    run, folder, with_llm = names()
    assert names()[1:] == (folder, with_llm)
    monkeypatch.setenv("EXPERTSMITH_JUDGE_MODEL", "another")
    assert names()[1] == folder
    assert names()[2] != with_llm
    task, example = run.tasks[0], run.examples[0]
    changed = (
        ("tasks", (replace(task, facts={"wanted": 1}),)),
        ("tasks", (replace(task, request=(Message("system", "Other."), *task.request)),)),
        ("examples", [replace(example, id="other")]),
    )
    for name, value in changed:
        other = run_of(home)
        vars(other)[name] = value if name == "examples" else (*value, *run.tasks[1:])
        assert other.run_folder != folder
    rule = SafetyRule("rule", "question", "x", "Say y.", ("y",))
    monkeypatch.setattr(type(run.domain), "safety_rules", lambda domain: (rule,))
    assert names()[1] != folder
