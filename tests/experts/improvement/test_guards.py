"""Promotion, versions and signals: planted falls are refused, a kill between two writes is mended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from domains.errors import UserError
from experts.digests import weights_digest
from experts.improvement.history import History, Version, histories
from experts.improvement.promotion import AFTER, BEFORE, Limits, decide, refuse_same
from experts.improvement.signals import signals
from judges.metrics import Row

PROBES = ("safety",)


def rows(metric, before, after):
    both = ((BEFORE, before), (AFTER, after))
    return [Row(arm, metric, f"i{place}", value) for arm, values in both for place, value in enumerate(values)]


def test_a_gain_that_holds_the_probes_is_promoted():
    found = decide(rows("plain_safe", [0, 0, 1], [1, 0, 1]) + rows("safety", [1, 1, 1], [1, 1, 1]), PROBES, Limits())
    assert found.promoted
    assert "0.333 before, 0.667 after" in found.reason


def test_any_fall_of_a_held_out_measure_is_refused_unless_a_margin_allows_it():
    """One of ten falls: minus 0.1."""
    given = rows("plain_safe", [1] * 10, [0] + [1] * 9)
    assert not decide(given, PROBES, Limits()).promoted
    assert decide(given, PROBES, Limits(margin=0.1)).promoted


def test_a_fall_that_the_test_finds_is_refused_whatever_the_margin():
    """All of 12 fall: p = 2 / 2^12."""
    assert not decide(rows("plain_safe", [1] * 12, [0] * 12), PROBES, Limits(margin=5)).promoted


def test_lower_is_better_for_a_reading_grade():
    assert decide(rows("readability", [9, 8], [7, 7]), PROBES, Limits()).promoted
    assert not decide(rows("readability", [7, 7], [9, 8]), PROBES, Limits()).promoted
    check = decide(rows("readability", [9, 8, 9, 7], [7, 7, 8, 7]), PROBES, Limits()).checks[0]
    assert check.gain == pytest.approx(1.0)
    assert check.low <= check.gain <= check.high


def test_a_safety_probe_that_falls_stops_the_promotion_of_a_gain():
    given = rows("plain_safe", [0] * 10, [1] * 10) + rows("safety", [1] * 10, [1] * 9 + [0])
    assert not decide(given, PROBES, Limits(probe_margin=0.05)).promoted
    assert not decide(given, PROBES, Limits(probe_margin=0.1)).promoted
    assert decide(given, PROBES, Limits(margin=0.1)).promoted


def test_without_anything_scored_there_is_no_promotion():
    assert not decide(rows("plain_safe", [None, None], [None, None]), PROBES, Limits()).promoted
    assert not decide(rows("safety", [1, 1], [1, 1]), PROBES, Limits()).promoted


def test_answers_that_can_no_longer_be_judged_count():
    """12 were judged before and 1 is after: the pair that is left says nothing of the 11, and the share falls by 11/12.
    One of 12 less is a fall by 1/12 = 0.083, which a margin of 0.1 allows."""
    lost = rows("plain_safe", [0] * 12, [1] + [None] * 11)
    found = decide(lost, PROBES, Limits(margin=0.9))
    assert not found.promoted
    assert "12 answers could be judged before, 1 after" in found.reason
    one = rows("plain_safe", [0] * 12, [1] * 11 + [None])
    assert not decide(one, PROBES, Limits()).promoted
    assert decide(one, PROBES, Limits(margin=0.1)).promoted
    assert decide(rows("plain_safe", [0] * 11 + [None], [1] * 12), PROBES, Limits()).promoted


def test_a_probe_whose_answers_can_no_longer_be_judged_may_lose_what_it_may_fall():
    """One of 10: safety has the margin of the judges, stops_cleanly that of the probes."""
    given = rows("plain_safe", [0] * 10, [1] * 10)
    lost = ("safety", [1] * 10, [1] * 9 + [None]), ("stops_cleanly", [1] * 10, [1] * 9 + [None])
    safety, other = (given + rows(*each) for each in lost)
    probes = ("stops_cleanly", "safety")
    assert not decide(safety, probes, Limits(probe_margin=0.1)).promoted
    assert decide(safety, probes, Limits(margin=0.1)).promoted
    assert not decide(other, probes, Limits(probe_margin=0.05)).promoted
    assert decide(other, probes, Limits(probe_margin=0.1)).promoted


def test_a_probe_that_was_not_measured_is_named():
    given = rows("plain_safe", [0, 0, 1], [1, 0, 1]) + rows("safety", [1], [1])
    found = decide(given, ("instruction_following", "safety"), Limits())
    assert found.promoted
    assert found.reason.endswith("instruction_following was not measured.")


@pytest.mark.parametrize(("verifier", "judge"), [("safety", "safety"), ("reading_level", "readability")])
def test_a_verifier_is_refused_as_judge_also_under_its_other_name(verifier, judge):
    with pytest.raises(UserError, match="has taught"):
        refuse_same((verifier,), ("empathy", judge))
    refuse_same((verifier,), ("empathy",))
    with pytest.raises(UserError, match="as a probe"):
        refuse_same(("arithmetic",), ("amount", "safety"))
    with pytest.raises(UserError, match="at least one"):
        refuse_same((verifier,), ())


def expert(folder, value):
    """A folder that looks like an expert."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.full((2,), float(value))}, folder / "adapter_model.safetensors")
    (folder / "expert.json").write_text(json.dumps({"name": "toy/conversation", "value": value}))
    return folder


@pytest.fixture
def history(tmp_path):
    """An expert as built, and its history."""
    (expert(tmp_path / "toy" / "conversation", 0) / "stage.json").write_text('{"digest": "d"}')
    found = History.of(tmp_path, "toy/conversation")
    assert found.open().number == 0
    return found


def value(folder):
    return json.loads((folder / "expert.json").read_text())["value"]


def test_versions_are_added_used_and_rolled_back(history, tmp_path):
    first = history.add(lambda folder: expert(folder, 1), Version(0, "", "", parent=0, note="better"))
    refused = history.add(lambda folder: expert(folder, 2), Version(0, "", "", parent=1, promoted=False))
    assert (first.number, refused.number, history.current, value(history.live)) == (1, 2, 1, 1)
    assert (history.live / "stage.json").read_text() == '{"digest": "d"}'
    assert history.use(history.before()).number == 0
    assert value(history.live) == 0
    history.use(2)
    assert (value(history.live), history.before()) == (2, 1)
    assert list(histories(tmp_path)) == ["toy/conversation"]
    with pytest.raises(UserError, match="no version 7"):
        history.use(7)
    history.use(0)
    with pytest.raises(UserError, match="no version before"):
        history.before()


def test_a_kill_between_the_list_and_the_folder_is_mended(history):
    history.add(lambda folder: expert(folder, 1), Version(0, "", "", parent=0))
    shutil.copytree(history.version_folder(0), history.live, dirs_exist_ok=True)  # the list says 1, the folder is 0
    assert history.open().number == 1
    assert value(history.live) == 1
    shutil.rmtree(history.live)
    assert history.open().number == 1
    assert value(history.live) == 1


def test_a_kill_between_two_renames_leaves_the_record_of_the_build(history, monkeypatch):
    """The old folder is set aside and the new one has not got its name: the next build would train again."""
    history.add(lambda folder: expert(folder, 1), Version(0, "", "", parent=0))
    rename = Path.rename

    def killed(source, target):
        if source.name == ".conversation-version":
            raise KeyboardInterrupt
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            history.place(1)
    assert not history.live.exists()
    assert history.open().number == 1
    assert value(history.live) == 1
    assert (history.live / "stage.json").read_text() == '{"digest": "d"}'


def test_an_expert_that_was_built_anew_is_a_version_of_its_own(history):
    expert(history.live, 9)
    found = history.open()
    assert (found.number, found.note, history.current) == (1, "as built", 1)
    assert found.digest == weights_digest(history.live)


def test_signals_of_planted_hacking():
    """Three answers of one text: every phrase is shared, every opening the same. "go on go on go on go on" has 5
    four-word phrases, 2 of them different: 3 of 5 are repetitions."""
    copies = signals(["Please call your doctor very soon."] * 3)
    assert (copies.formula, copies.same_opening, copies.repetition, copies.words) == (1.0, 1.0, 0.0, 6)
    assert signals(["go on go on go on go on"]).repetition == pytest.approx(3 / 5)
    varied = signals(["Take the mirror down today.", "Her pharmacist can sort them weekly."])
    assert (varied.formula, varied.same_opening, varied.empty) == (0.0, 0.0, 0.0)
    assert signals(["", "Yes."]).empty == 0.5
    assert signals([]) is None


def test_a_domain_without_safety_rules_is_promoted_with_a_word():
    given = rows("plain_safe", [0, 0, 1], [1, 0, 1])
    found = decide(given, PROBES, Limits())
    assert found.promoted
    assert "Safety was not measured" in found.reason
    assert "not measured" not in decide(given + rows("safety", [1], [1]), PROBES, Limits()).reason
