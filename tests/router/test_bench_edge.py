"""The edge bench on the fake foundation: a row for every form, why one cannot run, and the hook of the score."""

import importlib.util

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message
from domains.tool_calls import OPEN
from experts.build import run_build
from experts.checkpoint import load_tokenizer
from experts.expert import built_experts
from router.benches.edge import FORMS, NO_LLAMA, Size, child, chosen_expert, development_score, measured, size_mib
from tests.fakes_tools import tiny_tools_build

ASKED = [[Message("user", "Where is the hat?")]]
SMALL = Size(tokens=4, rounds=1, rows=1, leaderboard=8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    built = tiny_tools_build(tmp_path_factory.mktemp("edge"))
    run_build(built, lambda line: None)
    return built.home


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


def test_a_child_that_dies_gives_its_last_words(home, tmp_path):
    expert = built_experts(home)["kit/calls"]
    tokenizer = load_tokenizer(expert.folder)
    with child("bf16", tmp_path / "nothing", tokenizer) as process, pytest.raises(Exception, match="nothing"):
        process.heard()


def test_the_general_model_is_measured_where_there_is_no_tools_expert(home, tmp_path):
    assert chosen_expert(home).name == "general"
    with pytest.raises(UserError, match="build tools"):
        chosen_expert(tmp_path)


def test_the_score_is_the_share_of_right_answers():
    """An answer without a call is right on exactly the rows that want none: by hand from the development split."""
    score = development_score(0)
    assert score(lambda prompts: ["No." for _ in prompts]) == pytest.approx(score_of_silence())
    assert development_score(3)(lambda prompts: [str(len(prompts))] * len(prompts)) in {0, 1 / 3, 2 / 3, 1}


def score_of_silence():
    rows = Domain.load("tools").examples("calls", "dev")
    return sum(OPEN not in row.completion for row in rows) / len(rows)


def test_the_size_is_that_of_the_weights_alone(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"x" * 2**20)
    (tmp_path / "notes.txt").write_bytes(b"x" * 2**20)
    assert size_mib(tmp_path) == size_mib(tmp_path / "a.safetensors") == 1
