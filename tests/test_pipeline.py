"""The whole path on the embedded model, with the tiny recipe: build, run again, route, ask, evaluate, serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ARMS = 9


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home folder with the mortgage experts."""
    folder = tmp_path_factory.mktemp("home")
    done = command("build", "mortgage", "--recipe", "tiny", "--home", str(folder), "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment.pop("OPENAI_BASE_URL", None)
    program = [sys.executable, "-m", "ui.cli", *arguments]
    return subprocess.run(program, capture_output=True, text=True, env=environment, timeout=900, check=False)


def test_a_second_build_reuses_every_stage(home):
    records = json.loads(command("build", "mortgage", "--recipe", "tiny", "--home", str(home), "--json").stdout)
    assert len(records["stages"]) == 7
    assert all(record["reused"] for record in records["stages"])


def test_every_expert_has_the_documented_files(home):
    for expert in ("mortgage/conversation", "mortgage/structured", "house/instruct"):
        names = {path.name for path in (home / expert).iterdir()}
        assert {"adapter_config.json", "adapter_model.safetensors", "expert.json", "README.md"} <= names
        card = json.loads((home / expert / "expert.json").read_text())
        facts = {"base", "base_digest", "parents", "recipe_digest", "data", "template", "seed", "versions"}
        assert facts <= card.keys()


def test_route_and_ask_print_their_contract(home):
    route = json.loads(command("route", "My escrow payment went up", "--json", "--home", str(home)).stdout)
    assert route.keys() == {"expert", "confidence", "scores", "abstained", "strategy"}
    assert set(route["scores"]) == {"mortgage/conversation", "mortgage/structured", "general"}
    assert sum(route["scores"].values()) == pytest.approx(1, abs=1e-3)
    asked = command("ask", "Hello", "--expert", "general", "--max-tokens", "5", "--json", "--home", str(home))
    assert json.loads(asked.stdout)["route"]["expert"] == "general"


def test_an_evaluation_writes_the_report(home, tmp_path):
    done = command("evaluate", "mortgage", "--recipe", "tiny", "--home", str(home), "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "mortgage" / "report.json").read_text())
    assert len(report["arms"]) == ARMS
    assert report["metrics"][0].keys() == {"arm", "metric", "value", "low", "high", "n", "unscored"}
    measured = {metric["metric"] for metric in report["metrics"]}
    assert {"perplexity", "instruction_following", "preference_accuracy", "classification_macro_f1"} <= measured
    assert {"bertscore", "empathy", "politeness", "readability", "safety", "llm_judge"} <= measured
    assert any("weak judge" in note for note in report["notes"])
    assert report["provenance"]["command"].startswith("expertsmith evaluate")
    assert len(report["sweep"]) == 2
    assert "<html" in (tmp_path / "mortgage" / "report.html").read_text()
    again = command("evaluate", "mortgage", "--recipe", "tiny", "--home", str(home), "--out", str(tmp_path), "--json")
    assert json.loads((tmp_path / "mortgage" / "report.json").read_text())["metrics"] == report["metrics"]
    assert again.returncode == 0
