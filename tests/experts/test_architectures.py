"""Models of other architectures than Llama: logits that are more than W h, sliding windows, dropout. Each is two random
layers; what is expected comes from the class's own forward on one text at a time."""

import json
import math
from copy import deepcopy

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    PhiConfig,
    PhiForCausalLM,
)

from domains.errors import UserError
from domains.example import Message, Preference
from experts.alignment import Alignment, train_preferences
from experts.batch import candidates_segment, collate, collate_plain, conversation_segment, pack_in_order
from experts.checkpoint import Checkpoint, load, load_base, stop_dropout
from experts.device import DTYPE
from experts.lean_attention import register
from experts.logprobs import score
from experts.preferences import (
    EncodedPreference,
    candidate_logprobs,
    collate_alone,
    collate_preferences,
    load_objective,
)
from experts.recipe import Align, Sft
from experts.train import LOG, train_rows
from tests.experts.test_logprobs import random_ids
from tests.fakes import byte_tokenizer, write_model

SIZES = {
    "vocab_size": 258,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 257,
    "pad_token_id": 257,
}
READOUTS = {
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, {"head_dim": 8, "final_logit_softcapping": 2.0}),
    "cohere": (CohereForCausalLM, CohereConfig, {"logit_scale": 0.25}),
    "granite": (GraniteForCausalLM, GraniteConfig, {"logits_scaling": 3.0}),
    "phi": (PhiForCausalLM, PhiConfig, {}),
}


def tiny(model_class, config_class, settings):
    """A model of two random layers; the bias of its head, if it has one, is random too."""
    torch.manual_seed(0)
    model = model_class(config_class(**(SIZES | settings))).eval()
    if model.lm_head.bias is not None:
        torch.nn.init.normal_(model.lm_head.bias)
    return model


def own_sum(model, prompt, completion):
    """log p(completion | prompt) from the logits of the model's own forward."""
    tokens = torch.tensor([prompt + completion])
    logprobs = model(input_ids=tokens, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    return logprobs.gather(1, tokens[0, 1:].unsqueeze(1)).squeeze(1)[len(prompt) - 1 :].sum()


def gradients(model, loss):
    """Of all weights that are trained, by name."""
    model.zero_grad()
    loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("head_is_trained", [False, True])
@pytest.mark.parametrize("name", READOUTS)
def test_scores_are_those_of_the_models_own_logits(name, head_is_trained):
    """A prompt with three answers and a conversation, in packed rows and alone: values and the gradient of a weighted
    sum, with the head frozen and trained. A projection alone would be off by much more than the tolerance."""
    model = tiny(*READOUTS[name])
    model.lm_head.requires_grad_(head_is_trained)
    prompts, answers = random_ids(71, 9, 5), random_ids(72, 4, 7, 5, 6)
    pairs = [(prompts[0], answers[0]), (prompts[0], answers[1]), (prompts[0], answers[2]), (prompts[1], answers[3])]
    weights = torch.tensor([1.0, -0.5, 0.25, 2.0])
    expected = torch.stack([own_sum(model, *pair) for pair in pairs])
    expected_gradients = gradients(model, (expected * weights).sum())
    segments = [candidates_segment(prompts[0], answers[:3]), conversation_segment(prompts[1], answers[3])]
    for batch in (collate(pack_in_order(segments, 100), 0), collate_plain(segments, 0)):
        found = score(model, batch).logprobs_S
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        for key, gradient in gradients(model, (found * weights).sum()).items():
            torch.testing.assert_close(gradient, expected_gradients[key], rtol=1e-3, atol=1e-4)


ANSWERS = random_ids(74, 6, 4, 12, 8)
WINDOWED = {
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": 12}),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, {"sliding_window": 12, "head_dim": 8}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {"sliding_window": 12, "head_dim": 8, "sliding_window_pattern": 2}),
}


def short_and_long():
    """Rows whose texts have 6 + 6 and 30 + 12 tokens: the first is within a window of 12, the second is not."""
    return [
        EncodedPreference(name, candidates_segment(prompt, answers))
        for name, prompt, answers in zip("ab", random_ids(73, 6, 30), (ANSWERS[:2], ANSWERS[2:]), strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "attention"),
    [("mistral", "sdpa"), ("gemma3", "sdpa"), *((name, kernel) for name in WINDOWED for kernel in ("eager", "lean"))],
)
@torch.no_grad()
def test_packed_rows_are_seen_through_the_models_window(name, attention):
    """Rows shorter and longer than the window, one row for both: each answer has the value that it has alone, where the
    model puts its window in by itself. A mask without the window puts the long row off by more than 0.1 nats."""
    model = tiny(*WINDOWED[name])
    register()
    model.set_attn_implementation(attention)
    rows = short_and_long()
    expected = score(model, collate_alone(rows, 200, 0)).logprobs_S
    found = score(model, collate_preferences(rows, 200, 0)).logprobs_S
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    model.config.sliding_window = None
    assert float((score(model, collate_preferences(rows, 200, 0)).logprobs_S - expected)[2:].abs().min()) > 0.1


def without_its_window(model):
    """The model under a mask as if transformers had no kind of mask but one that it takes as it is."""
    forward = model.model.forward

    def plain_mask(attention_mask=None, position_ids=None, **options):
        if attention_mask is not None:
            distances = position_ids.unsqueeze(2) - position_ids.unsqueeze(1)
            seen = torch.ones_like(distances).tril().bool() & (distances >= model.config.sliding_window)
            attention_mask = attention_mask.masked_fill(seen.unsqueeze(1), 0.0)
        return forward(attention_mask=attention_mask, position_ids=position_ids, **options)

    model.model.forward = plain_mask
    return model


@pytest.mark.parametrize("together", [True, False])
def test_a_window_that_does_not_hold_is_found_with_the_longest_row(together):
    """The first row is within the window and says nothing; the second is checked, be it scored together with the first
    or later."""
    model, rows = without_its_window(tiny(*WINDOWED["mistral"])), short_and_long()
    expected = [float(own_sum(model, random_ids(73, 6, 30)[1], answer).detach()) for answer in ANSWERS[2:]]
    if not together:
        candidate_logprobs(model, rows[:1], 200, 0)
    with pytest.warns(UserWarning, match="gives other values under the mask"):
        *_, found = candidate_logprobs(model, rows if together else rows[1:], 200, 0)
    assert found.policy_BC[0].tolist() == pytest.approx(expected, abs=1e-3)


def test_too_little_memory_is_no_refusal_of_the_mask(model):
    full = deepcopy(model)
    forward = full.model.forward

    def out_of_memory(attention_mask=None, **options):
        if attention_mask is not None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(**options)

    full.model.forward = out_of_memory
    with pytest.raises(torch.OutOfMemoryError):
        candidate_logprobs(full, short_and_long(), 200, 0)


def test_logits_that_are_made_in_another_way_are_refused():
    """A class that squares its logits, which no setting says."""

    class Squared(LlamaForCausalLM):
        def forward(self, *arguments, **options):
            output = super().forward(*arguments, **options)
            output.logits = output.logits.square()
            return output

    model = Squared(LlamaConfig(**SIZES)).eval()
    with pytest.raises(UserError, match=r"Squared computes its logits in a way that is not supported .* base model\.$"):
        candidate_logprobs(model, short_and_long(), 200, 0)


def folder_of(model, folder):
    """A model and the byte tokenizer as a folder."""
    return Checkpoint(write_model(folder / "base", model, byte_tokenizer()))


def maskless(forward):
    """A model's forward that does as if no mask were given."""

    def without(self, attention_mask=None, position_ids=None, **options):
        return forward(self, **options)

    return without


def test_next_token_training_of_a_model_that_ignores_the_mask_has_a_row_for_each_text(tmp_path, monkeypatch):
    """The loss of the first step is the mean over the 17 targets of both texts, each alone."""
    monkeypatch.setenv(DTYPE, "float32")
    monkeypatch.setattr(LlamaModel, "forward", maskless(LlamaModel.forward))
    start = folder_of(tiny(LlamaForCausalLM, LlamaConfig, {}), tmp_path)
    pairs = list(zip(random_ids(75, 20, 5), random_ids(76, 11, 6), strict=True))
    rows = pack_in_order([conversation_segment(*pair) for pair in pairs], 64)
    assert len(rows) == 1
    with pytest.warns(UserWarning, match="gives other values under the mask"):
        metrics = train_rows(
            start, rows, Sft(rank=2, epochs=1, accumulation=1, learning_rate=1e-8), 0, tmp_path / "out"
        )
    model = load(start, torch.float32, "sdpa")
    assert metrics["loss"] == pytest.approx(
        -sum(float(own_sum(model, *pair).detach()) for pair in pairs) / 17, abs=2e-4
    )


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_preference_training_of_a_model_with_dropout_starts_at_ln_2(tmp_path, monkeypatch):
    """GPT-2's configuration drops a tenth of everything. Nothing is dropped, so that the policy is the reference to the
    bit; and rows are packed, or there were a warning."""
    monkeypatch.setenv(DTYPE, "float32")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=258, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.2, eos_token_id=257
    )
    assert config.resid_pdrop == config.embd_pdrop == config.attn_pdrop == 0.1
    start = folder_of(GPT2LMHeadModel(config), tmp_path)
    rows = [Preference("a", (Message("user", "Where?"),), "There.", ("No.", "Who knows about that?"))]
    settings = Align(rank=2, epochs=1, batch_rows=1, accumulation=1, row_tokens=128)
    train_preferences(start, rows, Alignment(load_objective("dpo", {})), settings, 0, tmp_path / "run")
    first = json.loads((tmp_path / "run" / LOG).read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["reward_margin"] == 0


def test_a_model_that_refuses_an_attention_is_loaded_with_its_plain_one(tmp_path):
    """transformers has no SDPA for Gemma-2, whose attention scores have a cap."""
    folder = folder_of(tiny(*READOUTS["gemma2"]), tmp_path).base
    with pytest.warns(UserWarning, match="base does not take sdpa attention"):
        model = load_base(folder, torch.float32, "sdpa")
    assert model.config._attn_implementation == "eager"
    with pytest.raises(ValueError, match="sdpaa"):
        load_base(folder, torch.float32, "sdpaa")


def test_no_probability_of_dropout_is_left_at_any_depth():
    """Gemma 3's configuration for pictures and text holds two others."""
    config = Gemma3Config(text_config={"attention_dropout": 0.2}, vision_config={"attention_dropout": 0.3})
    stop_dropout(config)
    assert config.text_config.attention_dropout == config.vision_config.attention_dropout == 0
    opt = OPTConfig(dropout=0.1, layerdrop=0.2, attention_dropout=0.3)
    stop_dropout(opt)
    assert opt.dropout == opt.layerdrop == opt.attention_dropout == 0
