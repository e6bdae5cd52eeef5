"""Domain pretraining of all weights: no process serves the experts together, and they are measured all the same."""

from __future__ import annotations

import json

import pytest

from experts.build import run_build
from experts.expert import experts_apart
from router.evaluation import ARMS
from tests.fakes import TRAINED_STAGES, tiny_build
from ui.cli import main

FEW = [f"evaluation.{name}=2" for name in ("limit", "label_limit", "instruction_limit", "preference_limit")]
OVERRIDES = ["pretrain.method=full", *FEW, "evaluation.document_limit=2", "evaluation.memorisation_limit=2",
             "evaluation.max_new_tokens=4"]  # fmt: skip
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A finished build whose domain pretraining trained all weights."""
    build = tiny_build(tmp_path_factory.mktemp("full"), *OVERRIDES)
    run_build(build, lambda line: None)
    return build


def test_every_arm_is_measured_without_a_router_and_without_our_own_judge(full, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert experts_apart(full.home) == ["toy/conversation", "toy/structured"]
    same = [f"foundation.base={full.base.base}", *OVERRIDES]
    same += [f"{stage}.{key}" for stage in TRAINED_STAGES for key in ("row_tokens=128", "max_examples=4")]
    given = ["--recipe", "tiny", "--home", str(full.home), "--out", str(tmp_path), "--judges", "readability,llm_judge"]
    given += [part for override in same for part in ("--set", override)]
    assert main(["evaluate", str(full.domain.folder), *given]) == 0
    report = json.loads((tmp_path / "toy" / "report.json").read_text(encoding="utf-8"))
    measured = {(each["arm"], each["metric"]) for each in report["metrics"]}
    assert {arm for arm, _ in measured} == set(ARMS)
    assert {("dapt", "perplexity"), ("conversation", "readability"), ("structured", "preference_accuracy")} <= measured
    assert report["provenance"]["judges"] == ["readability"]
    assert (report["routing"], report["sweep"]) == ({}, [])
    (note,) = [note for note in report["notes"] if "share no base" in note]
    assert note.startswith("toy/conversation, toy/structured and the general model")
    assert "OPENAI_BASE_URL" in note
    assert note in (tmp_path / "toy" / "report.html").read_text(encoding="utf-8")
    assert "No router is fitted" in capsys.readouterr().err
