"""The loops: what the reported loss is, that a loss which is no number stops, and what is asked of empty data."""

import json
import math

import pytest
import torch

from domains.errors import UserError
from domains.example import Message, Preference
from experts.alignment import Alignment, train_preferences
from experts.batch import collate, conversation_segment, pack_in_order
from experts.checkpoint import Checkpoint, load, read_adapter
from experts.device import DTYPE
from experts.logprobs import score
from experts.objectives.dpo import Objective
from experts.recipe import Align, Sft
from experts.train import LOG, last_complete, layers, prepare, train_rows
from tests.experts.test_logprobs import alone, random_ids

ROWS = (
    Preference("a", (Message("user", "Where?"),), "There.", ("No.",)),
    Preference("b", (Message("user", "When?"),), "Now.", ("Never.", "Who knows?")),
)


def pairs(model):
    """Four prompts with completions of 2, 30, 5 and 12 tokens; the long one is what the model itself would say, so its
    tokens cost little."""
    prompts, completions = random_ids(31, 4, 9, 6, 3), random_ids(32, 2, 30, 5, 12)
    said = torch.tensor([prompts[1]])
    for _ in range(30):
        said = torch.cat([said, model(input_ids=said).logits[:, -1:].argmax(-1)], dim=1)
    completions[1] = said[0, len(prompts[1]) :].tolist()
    return list(zip(prompts, completions, strict=True))


def one_step(**settings):
    """Two rows of two conversations make one step, with no learning to speak of."""
    return Sft(rank=2, epochs=1, learning_rate=1e-8, row_tokens=46, **settings)


@pytest.mark.parametrize(("batch_rows", "accumulation"), [(1, 2), (2, 1)])
def test_the_loss_is_the_mean_over_tokens_or_over_examples(base, model, tmp_path, batch_rows, accumulation):
    """49 targets of 4 examples. Tokens: sum / 49. Examples: the mean of their token means. However the rows come."""
    texts = pairs(model)
    rows = pack_in_order([conversation_segment(p, c) for p, c in texts], 46)
    assert [len(row.segments) for row in rows] == [2, 2]
    sums = [-alone(model, p, c) for p, c in texts]
    expected = {
        False: sum(sums) / sum(len(c) for _, c in texts),
        True: sum(s / len(c) for s, (_, c) in zip(sums, texts, strict=True)) / 4,
    }
    assert abs(expected[True] - expected[False]) > 0.5
    for by_example, loss in expected.items():
        settings = one_step(batch_rows=batch_rows, accumulation=accumulation, by_example=by_example)
        metrics = train_rows(Checkpoint(base), rows, settings, 0, tmp_path / str(by_example))
        assert metrics["steps"] == 1
        assert metrics["loss"] == pytest.approx(loss, abs=0.05)


def test_preference_training_starts_at_ln_2_and_writes_an_adapter(base, tmp_path):
    """In the first step the policy is the reference, so every margin is 0 whatever the number of rejected answers."""
    settings = Align(rank=2, epochs=1, batch_rows=1, accumulation=2, row_tokens=128)
    metrics = train_preferences(Checkpoint(base), ROWS, Alignment(Objective()), settings, 0, tmp_path)
    assert metrics["steps"] == 1
    assert metrics["loss"] == pytest.approx(math.log(2), abs=0.02)
    assert len(read_adapter(tmp_path)) == 14
    assert json.loads((tmp_path / LOG).read_text().splitlines()[-1])["step"] == 1


def test_preference_training_lowers_the_loss(base, tmp_path):
    settings = Align(rank=4, epochs=8, batch_rows=1, accumulation=2, row_tokens=128, learning_rate=0.01)
    metrics = train_preferences(Checkpoint(base), ROWS, Alignment(Objective()), settings, 0, tmp_path)
    assert metrics["loss"] < math.log(2) - 0.05


def test_a_loss_that_is_no_number_stops_before_the_step(base, tmp_path):
    class Broken(Objective):
        def __call__(self, batch):
            return super().__call__(batch) * float("nan")

    settings = Align(rank=2, epochs=1, row_tokens=128)
    with pytest.raises(UserError, match="preference loss became nan. Lower the learning rate"):
        train_preferences(Checkpoint(base), ROWS, Alignment(Broken()), settings, 0, tmp_path)
    assert not (tmp_path / "adapter_model.safetensors").exists()


def test_nothing_to_train_on_is_answered(base, tmp_path):
    with pytest.raises(UserError, match="nothing to train on"):
        train_rows(Checkpoint(base), [], one_step(), 0, tmp_path)
    with pytest.raises(UserError, match="nothing to align on"):
        train_preferences(Checkpoint(base), [], Alignment(Objective()), Align(), 0, tmp_path)


def test_the_newest_whole_checkpoint_is_taken_and_others_are_removed(tmp_path):
    assert last_complete(tmp_path / "none") is None
    for number, whole in [(2, True), (10, True), (12, False)]:
        (tmp_path / f"checkpoint-{number}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{number}" / "complete").touch()
    assert last_complete(tmp_path) == str(tmp_path / "checkpoint-10")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]


def test_the_layers_that_are_compiled_are_the_decoders_blocks(model):
    assert [type(layer).__name__ for layer in layers(model)] == ["LlamaDecoderLayer"] * 2


def test_without_a_compiler_training_goes_on_with_one_warning(base, tmp_path, monkeypatch):
    def no_compiler(function):
        raise RuntimeError("InvalidCxxCompiler: no working C++ compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    settings = Align(rank=2, epochs=1, batch_rows=1, accumulation=2, row_tokens=128, compile=True)
    with pytest.warns(UserWarning, match="training goes on without it") as found:
        metrics = train_preferences(Checkpoint(base), ROWS, Alignment(Objective()), settings, 0, tmp_path)
    assert len(found) == 1
    assert metrics["steps"] == 1


def test_lora_scores_at_its_start_as_the_base_to_the_bit(base, monkeypatch):
    """Its second factor is 0, and what is added to a weight is exactly 0."""
    monkeypatch.setenv(DTYPE, "float32")
    ready = prepare(Checkpoint(base), Sft(rank=4), 0)
    plain = load(Checkpoint(base), torch.float32, ready.device.train_attention)
    batch = collate(pack_in_order([conversation_segment(*pair) for pair in zip(*two_texts(), strict=True)], 64), 0)
    with torch.no_grad():
        assert torch.equal(score(ready.model, batch).token_logprobs_T, score(plain, batch).token_logprobs_T)


def two_texts():
    """Prompts and completions."""
    return random_ids(33, 9, 4), random_ids(34, 12, 7)


def test_recomputing_activations_changes_nothing(base, tmp_path, monkeypatch):
    """Two steps with and without: the same losses, norms of gradients and adapters."""
    monkeypatch.setenv(DTYPE, "float32")
    logs, adapters = [], []
    for recompute in (False, True):
        settings = Align(
            rank=2, epochs=2, batch_rows=2, accumulation=1, row_tokens=128, learning_rate=0.01,
            gradient_checkpointing=recompute,
        )  # fmt: skip
        folder = tmp_path / str(recompute)
        train_preferences(Checkpoint(base), ROWS, Alignment(Objective()), settings, 0, folder)
        lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
        logs.append([number for line in lines if "loss" in line for number in (line["loss"], line["grad_norm"])])
        adapters.append(read_adapter(folder))
    assert len(logs[0]) == 4
    assert logs[1] == pytest.approx(logs[0], rel=1e-6)
    for key, update in adapters[0].items():
        torch.testing.assert_close(adapters[1][key].up, update.up, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_compiled_layers_learn_the_same(base, tmp_path):
    """The same two preference rows, two steps, with and without compilation."""
    losses = []
    for compiled in (False, True):
        settings = Align(
            rank=2, epochs=2, batch_rows=1, accumulation=1, row_tokens=128, learning_rate=0.01, compile=compiled
        )
        folder = tmp_path / str(compiled)
        losses.append(train_preferences(Checkpoint(base), ROWS, Alignment(Objective()), settings, 0, folder)["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)
