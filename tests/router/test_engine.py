"""The engine: every expert answers as itself, over one base that has the same adapters as the files."""

import json
import shutil

import pytest
import torch

from domains.errors import UserError
from domains.example import Message
from domains.tool_calls import Function, render
from experts.checkpoint import load_base
from experts.expert import CARD
from experts.generate import generate
from router.assistant import Sampling
from router.engine import MAX_CONTEXT, Engine, servable

NAMES = ("toy/conversation", "toy/structured", "general")
ASK = (Message("user", "Where does the kettle go?"),)


def streamed(backend, expert, **sampling):
    return list(backend.start(ASK, expert, Sampling(**sampling), ""))


def text_of(pieces):
    return "".join(piece.text for piece in pieces)


def test_the_tracks_and_the_general_model_are_offered(engine):
    """Arms of the report that are no experts (multi_task, sft_after_dapt) are not; the general model comes last."""
    assert tuple(engine.experts) == NAMES


@pytest.mark.parametrize("expert", NAMES)
def test_a_streamed_answer_is_the_one_shot_answer_of_the_same_expert(engine, backend, expert):
    pieces = streamed(backend, expert, max_tokens=24)
    with engine.using(expert) as model:
        (answer,) = generate(model, engine.tokenizer, [ASK], 24)
    assert text_of(pieces).strip() == answer.text
    assert pieces[-1].finish_reason == ("stop" if answer.finished else "length")
    assert pieces[-1].prompt_tokens == len(engine.encode(ASK))
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("expert", NAMES)
def test_an_adapter_in_the_engine_is_the_expert_on_disk(engine, backend, built, expert):
    """Log-probabilities of the first token: base + this adapter alone, loaded afresh; others do not mix in."""
    from peft import PeftModel

    base = load_base(built.base.base, engine.device.dtype, engine.device.score_attention)
    alone = PeftModel.from_pretrained(base, engine.experts[expert].folder, autocast_adapter_dtype=False).eval()
    with torch.no_grad():
        logits = alone(input_ids=torch.tensor([engine.encode(ASK)])).logits[0, -1].float()
    expected = logits.log_softmax(-1).topk(3).values.tolist()
    (piece,) = streamed(backend, expert, max_tokens=1, logprobs=3)
    assert [value for _, value in piece.logprobs[0].top] == pytest.approx(expected, abs=0.05)


def test_switching_adapters_changes_the_answer_and_switching_back_restores_it(backend):
    answers = [text_of(streamed(backend, name, max_tokens=16)) for name in (*NAMES, NAMES[0])]
    assert len(set(answers[:3])) == 3
    assert answers[3] == answers[0]


def test_wrong_names_and_long_conversations_are_answered(engine, backend):
    with pytest.raises(UserError, match="Did you mean 'toy/structured'"), engine.using("toy/structurd"):
        pass
    with pytest.raises(UserError, match=f"at most {MAX_CONTEXT} fit"):
        backend.start([Message("user", "x" * MAX_CONTEXT)], "general", Sampling(), "")


def test_tools_are_shown_to_the_model_by_templates_that_know_them(engine):
    """The fake template does not, so they are told in a system message; without tools nothing is added."""
    tools = json.dumps([{"type": "function", "function": {"name": "look_up", "parameters": {}}}])
    shown = engine.tokenizer.decode(engine.encode(ASK, tools))
    assert "look_up" in shown
    assert shown.endswith(engine.tokenizer.decode(engine.encode(ASK)))


def test_a_tools_expert_reads_the_format_that_it_was_trained_with(engine, monkeypatch):
    """Also where the template has a place for functions; the other experts use that place."""
    native = "{{ tools }}" + engine.tokenizer.chat_template
    monkeypatch.setattr(engine.tokenizer, "chat_template", native)
    tools = json.dumps([{"type": "function", "function": {"name": "look_up"}}])
    ours = [Message("system", render([Function("look_up")])), *ASK]
    assert engine.encode(ASK, tools, "tools/calls") == engine.encode(ours)
    shown = engine.tokenizer.decode(engine.encode(ASK, tools, "general"))
    assert "'look_up'" in shown
    assert "look_up()" not in shown


def test_who_waits_for_the_model_gets_it_between_two_steps(engine, backend):
    """A router asks while an answer of 200 tokens is written: it has the model long before the answer is whole."""
    answer = backend.start(ASK, "general", Sampling(max_tokens=200, stop=("never there",)), "")
    next(answer)
    with engine.using("toy/structured"):
        written = answer.queue.qsize()
    assert written < 190
    answer.close()


def test_gradients_are_off_only_inside_the_engine(backend):
    """A consumer of a stream computes gradients between two pieces as before."""
    answer = backend.start(ASK, "general", Sampling(max_tokens=20), "")
    next(answer)
    assert torch.is_grad_enabled()
    answer.close()


def test_an_expert_without_a_head_cannot_choose(engine):
    with pytest.raises(UserError, match="has no preference head"):
        engine.rewards(ASK, "general", ["a"])


def test_an_expert_of_another_base_is_refused(built, tmp_path):
    home = shutil.copytree(built.home, tmp_path / "home")
    card = home / "toy" / "conversation" / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"base_digest": "other"}))
    with pytest.raises(UserError, match="'toy/conversation' is over another base"):
        Engine(home)


def test_another_template_is_refused(built, tmp_path):
    home = shutil.copytree(built.home, tmp_path / "home")
    card = home / "house" / "instruct" / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"template": "other"}))
    with pytest.raises(UserError, match="chat template is not the one"):
        Engine(home)


def test_a_home_without_a_general_model_is_refused(built, tmp_path):
    with pytest.raises(UserError, match="No experts are built"):
        servable(tmp_path)


def test_digests_are_of_the_weights_that_were_loaded(engine, tmp_path):
    """The same files have the same digests. When the structured expert's change, an engine that is loaded then has
    another for it and for all together, and none for the others; the one loaded before keeps its own."""
    home = tmp_path / "home"
    shutil.copytree(engine.home, home, ignore=shutil.ignore_patterns("evaluation"))
    before = Engine(home)
    assert before.digests == engine.digests
    assert len(set(before.digests.values())) == len(NAMES)
    conversation, structured = (before.experts[f"toy/{name}"].folder for name in ("conversation", "structured"))
    shutil.copy(conversation / "adapter_model.safetensors", structured / "adapter_model.safetensors")
    after = Engine(home)
    changed = {name for name in (*NAMES, "auto") if after.digest(name) != before.digest(name)}
    assert changed == {"toy/structured", "auto"}
