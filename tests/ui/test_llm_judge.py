"""The LLM judge of a command: which weights answered is part of what its verdicts are kept under."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes_assistant import ScriptedAssistant
from ui.background import local_service
from ui.llm_judge import judge_for


@dataclass
class Weights(ScriptedAssistant):
    """An assistant with weights that have a name."""

    name: str = "w1"

    def digest(self, expert: str) -> str:
        return f"{expert} {self.name}"


def digest_of_own(weights: str, folder: Path) -> str:
    """The digest of the judge that a command makes of its own service."""
    with judge_for(lambda: Weights(name=weights), ["llm_judge"], folder) as (judge, name):
        assert name == "general (our own service)"
        assert judge.cache == str(folder / "judge_cache")
        return str(judge.digest)


def test_another_general_model_is_another_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each service has a port of its own, which is no part of it."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("EXPERTSMITH_JUDGE_CACHE", raising=False)
    first, again, other = (digest_of_own(weights, tmp_path) for weights in ("w1", "w1", "w2"))
    assert first == again
    assert first != other


def test_so_it_is_when_our_service_is_the_given_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    digests, names = [], []
    for weights in ("w1", "w2"):
        with local_service(Weights(name=weights)) as url:
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            with judge_for(lambda: None, ["llm_judge"], tmp_path) as (judge, name):
                digests.append(judge.digest)
                names.append((name, judge.answers_as))
    assert len(set(digests)) == 2
    assert [answers_as for _, answers_as in names] == [
        f"{name} with weights general {weights}" for (name, _), weights in zip(names, ("w1", "w2"), strict=True)
    ]


def test_without_the_judge_nothing_is_loaded(tmp_path: Path):
    with judge_for(lambda: pytest.fail("loaded"), ["exact"], tmp_path) as (judge, name):
        assert (judge, name) == (None, "")
