"""The engine: every expert answers as itself, streaming changes nothing, stop strings and limits hold."""

import json
import shutil
import threading

import pytest
import torch

from domains.errors import UserError
from domains.example import Message
from experts.checkpoint import load_base
from experts.expert import CARD
from experts.generate import generate
from router.assistant import Sampling
from router.engine import MAX_CONTEXT, Engine, Text, pick, servable

NAMES = ("toy/conversation", "toy/structured", "general")
ASK = (Message("user", "Where does the kettle go?"),)


def streamed(engine, expert, **sampling):
    return list(engine.stream(ASK, expert, Sampling(**sampling)))


def text_of(pieces):
    return "".join(piece.text for piece in pieces)


def test_the_tracks_and_the_general_model_are_offered(engine):
    """Arms of the report that are no experts (multi_task, sft_after_dapt) are not; the general model comes last."""
    assert tuple(engine.experts) == NAMES


@pytest.mark.parametrize("expert", NAMES)
def test_a_streamed_answer_is_the_one_shot_answer_of_the_same_expert(engine, expert):
    pieces = streamed(engine, expert, max_tokens=24)
    with engine.using(expert) as model:
        (answer,) = generate(model, engine.tokenizer, [ASK], 24)
    assert text_of(pieces).strip() == answer.text
    assert pieces[-1].finish_reason == ("stop" if answer.finished else "length")
    assert pieces[-1].prompt_tokens == len(engine.encode(ASK))
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("expert", NAMES)
def test_an_adapter_in_the_engine_is_the_expert_on_disk(engine, built, expert):
    """Log-probabilities of the first token: base + this adapter alone, loaded afresh; others do not mix in."""
    from peft import PeftModel

    base = load_base(built.base.base, engine.device.dtype, engine.device.score_attention)
    alone = PeftModel.from_pretrained(base, engine.experts[expert].folder, autocast_adapter_dtype=False).eval()
    with torch.no_grad():
        logits = alone(input_ids=torch.tensor([engine.encode(ASK)])).logits[0, -1].float()
    expected = logits.log_softmax(-1).topk(3).values.tolist()
    found = sorted(engine.next_token_logprobs(ASK, expert, 3).values(), reverse=True)
    assert found == pytest.approx(expected, abs=0.05)


def test_switching_adapters_changes_the_answer_and_switching_back_restores_it(engine):
    answers = [text_of(streamed(engine, name, max_tokens=16)) for name in (*NAMES, NAMES[0])]
    assert len(set(answers[:3])) == 3
    assert answers[3] == answers[0]


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_length_limit(engine, limit):
    pieces = streamed(engine, "general", max_tokens=limit)
    assert (pieces[-1].finish_reason, pieces[-1].completion_tokens) == ("length", limit)
    longer = text_of(streamed(engine, "general", max_tokens=limit + 5))
    assert longer.startswith(text_of(pieces).rstrip("\ufffd"))


def test_a_stop_string_ends_the_answer_before_it(engine):
    """The stop string is the fourth and fifth character of the answer."""
    full = text_of(streamed(engine, "general", max_tokens=40))
    stop = full[3:5]
    pieces = streamed(engine, "general", max_tokens=40, stop=("never there", stop))
    assert text_of(pieces) == full[: full.index(stop)]
    assert pieces[-1].finish_reason == "stop"


def test_sampling_is_repeatable_by_seed(engine):
    def answer(seed):
        return text_of(streamed(engine, "general", max_tokens=20, temperature=1.5, seed=seed))

    assert answer(3) == answer(3)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_pick():
    """Temperature 0 is the maximum; a nucleus of 0.6 over (.5, .3, .2) keeps the first two."""
    logits = torch.tensor([0.3, 0.5, 0.2]).log()
    assert pick(logits, Sampling(), torch.Generator()) == 1
    generator = torch.Generator().manual_seed(0)
    drawn = [pick(logits, Sampling(temperature=1.0, top_p=0.6), generator) for _ in range(200)]
    assert set(drawn) == {0, 1}
    assert 0.5 < drawn.count(1) / 200 < 0.75
    assert pick(logits, Sampling(temperature=1.0, top_p=1e-9), generator) == 1


def shown(tokenizer, text, stop=()):
    """What is shown token by token, with what the end brings."""
    shower = Text(tokenizer, stop)
    pieces = []
    for token in tokenizer.encode(text, add_special_tokens=False):
        pieces.append(shower.add(token))
        if shower.stopped:
            return pieces
    return [*pieces, shower.flush()]


def test_characters_of_several_tokens_are_shown_whole(tokenizer):
    """The euro sign is three bytes, so three tokens."""
    assert shown(tokenizer, "a€b") == ["a", "", "", "€", "b", ""]


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_decided(tokenizer):
    assert shown(tokenizer, "ab##c", ["##!"]) == ["a", "b", "", "", "##c", ""]
    assert shown(tokenizer, "ab##!c", ["##!"]) == ["a", "b", "", "", ""]
    assert shown(tokenizer, "ab##", ["##!"]) == ["a", "b", "", "", "##"]


def test_wrong_names_and_long_conversations_are_answered(engine):
    with pytest.raises(UserError, match="Did you mean 'toy/structured'"):
        streamed(engine, "toy/structurd")
    with pytest.raises(UserError, match=f"at most {MAX_CONTEXT} fit"):
        engine.encode([Message("user", "x" * MAX_CONTEXT)])


def test_requests_wait_for_each_other(engine):
    """Two experts asked at once from two threads: each gets the answer that it gives alone."""
    expected = {name: text_of(streamed(engine, name, max_tokens=12)) for name in NAMES[:2]}
    found = {}

    def ask(name):
        found[name] = text_of(streamed(engine, name, max_tokens=12))

    threads = [threading.Thread(target=ask, args=(name,)) for name in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_an_abandoned_stream_frees_the_engine(engine):
    stream = engine.stream(ASK, "general", Sampling(max_tokens=20))
    next(stream)
    stream.close()
    done = threading.Thread(target=streamed, args=(engine, "general"), kwargs={"max_tokens": 2})
    done.start()
    done.join(60)
    assert not done.is_alive()


def test_a_stream_may_be_read_from_several_threads(engine):
    """As a web server does: each piece in another thread. The next request then finds the engine free."""
    expected = text_of(streamed(engine, "general", max_tokens=6))
    stream, pieces = engine.stream(ASK, "general", Sampling(max_tokens=6)), []
    for _ in range(10):
        thread = threading.Thread(target=lambda: pieces.extend([p for p in [next(stream, None)] if p]))
        thread.start()
        thread.join()
    assert text_of(pieces) == expected
    assert engine.lock.acquire(timeout=1)
    engine.lock.release()


def test_a_request_waits_until_a_half_read_stream_is_closed(engine):
    stream = engine.stream(ASK, "general", Sampling(max_tokens=20))
    next(stream)
    other = threading.Thread(target=streamed, args=(engine, "toy/structured"), kwargs={"max_tokens": 2})
    other.start()
    other.join(0.3)
    assert other.is_alive()
    stream.close()
    other.join(60)
    assert not other.is_alive()


def test_gradients_are_off_only_inside_the_engine(engine):
    """A consumer of a stream computes gradients between two pieces as before."""
    stream = engine.stream(ASK, "general", Sampling(max_tokens=20))
    next(stream)
    assert torch.is_grad_enabled()
    stream.close()


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
