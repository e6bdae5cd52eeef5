"""The edge bench on the fake foundation: a row for every form, why one cannot run, and the hook of the score."""

import importlib.util
import shutil
from dataclasses import replace

import pytest
import torch

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message
from domains.tool_calls import OPEN
from experts.benches._kept import Kept
from experts.build import run_build
from experts.checkpoint import load_base, load_tokenizer
from experts.expert import built_experts
from experts.export import base_of
from router.benches._int8 import load_int8, quantized, save_int8
from router.benches.edge import (
    FORMS,
    NO_LLAMA,
    NoRun,
    Size,
    child,
    chosen_expert,
    development_score,
    measured,
    size_mib,
)
from tests.fakes_tools import tiny_tools_build

ASKED = [[Message("user", "Where is the hat?")]]
SMALL = Size(tokens=4, rounds=1, rows=1, leaderboard=8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    built = tiny_tools_build(tmp_path_factory.mktemp("edge"))
    run_build(built, lambda line: None)
    return built.home


@pytest.mark.slow
def test_the_table_has_a_row_for_every_form(home):
    """One child per form; what cannot run here keeps its size and says why."""
    heard = []

    def score(ask):
        heard.append(ask(ASKED))
        return 0.25

    table = measured(built_experts(home)["kit/calls"], SMALL, {"score": score, "other": lambda ask: 0.5})
    rows = {row["form"]: row for row in table["rows"]}
    assert list(rows) == [form.name for form in FORMS]
    assert table["expert"] == "kit/calls"
    for name in ("bf16", "int8"):
        assert (rows[name]["score"], rows[name]["other"]) == (0.25, 0.5)
        assert rows[name]["first_token_seconds"] > 0
        assert rows[name]["peak_memory_mib"] > 50
    assert [len(texts) for texts in heard[:2]] == [1, 1]
    assert rows["bf16"]["file_mib"] > 0
    if importlib.util.find_spec("llama_cpp") is None:
        assert rows["gguf q4_0"]["not_run"] == NO_LLAMA


@pytest.mark.slow
def test_a_stopped_run_goes_on(home, tmp_path):
    """What was measured is read, what could not run is tried again; other numbers of rows are other rows."""
    expert, kept, asked = built_experts(home)["kit/calls"], Kept(tmp_path / "edge.jsonl"), []

    def score(ask):
        asked.append(ask)
        if len(asked) == 1:
            raise NoRun("not today")
        return float(len(asked))

    def row(size=SMALL):
        (found,) = measured(expert, size, {"score": score}, FORMS[:1], kept)["rows"]
        return found

    assert row()["not_run"] == "not today"
    assert [row()["score"], row()["score"], row(replace(SMALL, rows=2))["score"]] == [2, 2, 3]


@pytest.mark.slow
def test_a_child_that_dies_gives_its_last_words(home, tmp_path):
    expert = built_experts(home)["kit/calls"]
    tokenizer = load_tokenizer(expert.folder)
    with child("bf16", tmp_path / "nothing", tokenizer) as process, pytest.raises(Exception, match="nothing"):
        process.heard()


def test_what_is_measured_calls_functions(home, tmp_path):
    assert chosen_expert(home).name == "kit/calls"
    shutil.copytree(home / "house", tmp_path / "house")
    with pytest.raises(UserError, match="No expert of function calls"):
        chosen_expert(tmp_path)


def test_the_score_tells_calls_from_silence():
    """An answer without a call is right on exactly the rows that want none, as the floor says; few rows have a wide
    interval."""
    found = development_score(0)(lambda prompts: ["No." for _ in prompts])
    rows = Domain.load("tools").examples("calls", "dev")
    needing = sum(OPEN in row.completion for row in rows)
    assert (found["calls"]["value"], found["calls"]["n"], found["calls"]["never_calling"]) == (0, needing, 0)
    assert (found["no_calls"]["value"], found["no_calls"]["n"]) == (1, len(rows) - needing)
    assert found["no_calls"]["never_calling"] == 1
    assert found["no_calls"]["low"] < 1
    few = development_score(3)(lambda prompts: ["No."] * len(prompts))
    assert few["calls"]["n"] + few["no_calls"]["n"] == 3


def test_the_int8_file_is_smaller_and_gives_what_it_gave_before_it_was_saved(home, tmp_path):
    base, source = base_of(built_experts(home)["kit/calls"]), tmp_path / "bf16"
    load_base(base, torch.bfloat16, "sdpa").save_pretrained(source)
    saved = save_int8(source, tmp_path / "int8")
    assert size_mib(saved) < size_mib(source)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        before = quantized(load_base(source, torch.float32, "sdpa").eval())(input_ids=ids).logits
        after = load_int8(saved)(input_ids=ids).logits
    assert torch.allclose(before, after, atol=1e-4)
    assert torch.isfinite(after).all()


def test_the_size_is_that_of_the_weights_alone(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"x" * 2**20)
    (tmp_path / "notes.txt").write_bytes(b"x" * 2**20)
    assert size_mib(tmp_path) == size_mib(tmp_path / "a.safetensors") == 1
