"""From preference rows to tensors: order, raggedness and the objective's registry."""

import json

import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from domains.errors import UserError
from domains.example import Message, Preference
from experts import preferences
from experts.batch import candidates_segment, unshared
from experts.encoding import completion_ids, prompt_ids, render_prompt
from experts.logprobs import Scored, score
from experts.preferences import (
    EncodedPreference,
    PreferenceBatch,
    by_candidate,
    candidate_logprobs,
    collate_preferences,
    encode_preference,
    grouped,
    load_objective,
    preference_batch,
)
from tests.experts.test_logprobs import alone, random_ids

ROWS = (
    Preference("a", (Message("user", "Where?"),), "There.", ("No.", "Who knows about that?")),
    Preference("b", (Message("user", "And when does it end?"),), "At nine, as always.", ("Never.",)),
    Preference("c", (Message("system", "Be kind."), Message("user", "Hm?")), "Yes.", ("A", "B", "C")),
)


def expected_sums(model, tokenizer, row):
    """Each candidate scored by itself, the plain way."""
    prompt = prompt_ids(tokenizer, row.prompt)
    return [alone(model, prompt, completion_ids(tokenizer, text)) for text in row.candidates]


@pytest.mark.parametrize("row_tokens", [64, 2000])
def test_a_batch_of_ragged_rows_equals_one_by_one(model, tokenizer, row_tokens):
    rows = [encode_preference(tokenizer, row) for row in ROWS]

    batch = preference_batch(score(model, collate_preferences(rows, row_tokens, 0)), rows)
    assert batch.present_BC.tolist() == [[True] * 3 + [False], [True] * 2 + [False] * 2, [True] * 4]
    for i, row in enumerate(ROWS):
        size = len(row.candidates)
        assert batch.policy_BC[i, :size].tolist() == pytest.approx(expected_sums(model, tokenizer, row), abs=1e-3)
        assert batch.num_tokens_BC[i, :size].tolist() == [len(completion_ids(tokenizer, t)) for t in row.candidates]
        assert batch.policy_BC[i, size:].tolist() == [0.0] * (4 - size)


def test_scoring_without_gradients_keeps_the_order_of_rows(model, tokenizer):
    rows = [encode_preference(tokenizer, row) for row in ROWS]
    found = [b.policy_BC[0].tolist() for b in candidate_logprobs(model, rows, 512, 0)]
    for row, sums in zip(ROWS, found, strict=True):
        assert sums == pytest.approx(expected_sums(model, tokenizer, row), abs=1e-3)


@pytest.mark.parametrize("row_tokens", [1, 150, 2000])
def test_scoring_many_rows_is_scoring_each(model, tokenizer, monkeypatch, row_tokens):
    """Rows of several lengths, in an order that is not that of their lengths: the values are those of each row alone,
    and a pass has at most `row_tokens` tokens, or one row."""
    rows = [encode_preference(tokenizer, row) for row in (*ROWS, *ROWS[::-1], ROWS[1])]
    expected = [candidate_logprobs(model, [row], row_tokens, 0)[0] for row in rows]
    passes = []
    monkeypatch.setattr(preferences, "score", lambda m, batch: passes.append(batch) or score(m, batch))
    found = candidate_logprobs(model, rows, row_tokens, 0)
    for one, other in zip(found, expected, strict=True):
        assert one.policy_BC.tolist() == [pytest.approx(other.policy_BC[0].tolist(), rel=1e-5)]
        assert one.num_tokens_BC.tolist() == other.num_tokens_BC.tolist()
    assert all(batch.input_ids_RL.shape[0] == 1 for batch in passes)
    longest = max(len(row.segment) for row in rows)
    assert max(batch.input_ids_RL.shape[1] for batch in passes) <= max(longest, row_tokens)
    assert len(passes) < len(rows) if row_tokens >= 2 * longest else len(passes) <= len(rows)


@pytest.mark.parametrize(
    ("budget", "groups"), [(0, [[2], [0], [3], [1]]), (10, [[2], [0, 3], [1]]), (100, [[2, 0, 3, 1]])]
)
def test_rows_of_like_length_share_a_pass(budget, groups):
    """Lengths 6, 1, 12, 4: a row of 12 is alone under a budget of 10, and 6 + 4 fill it."""
    assert grouped([6, 1, 12, 4], budget) == groups


def test_references_are_placed_like_the_policy():
    """Rows of 3 and 2 candidates: sums -1..-5 in order, references of each row in its own columns."""
    segments = [encoded(3, (-1.0, -2.0, -3.5)), encoded(2, (-4.0, -6.0))]
    scored = Scored(torch.zeros(0), torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0]), torch.tensor([1, 2, 3, 4, 5]))
    batch = preference_batch(scored, segments)
    assert batch.ratio_BC.tolist() == [[0.0, 0.0, 0.5], [0.0, 1.0, 0.0]]
    assert batch.margins_BK.tolist() == [[0.0, -0.5], [-1.0, 0.0]]
    assert batch.num_tokens_BC.tolist() == [[1, 2, 3], [4, 5, 0]]


def encoded(num_candidates, reference):
    return EncodedPreference("x", candidates_segment([1], [[2]] * num_candidates), (reference,))


def test_an_absent_candidate_has_no_ratio():
    """Whatever stands in a masked cell counts as 0, also when it is not a number."""
    nan = float("nan")
    batch = PreferenceBatch(
        torch.tensor([[-1.0, -2.0, nan]]),
        torch.tensor([[-1.5, -2.0, nan]]),
        torch.ones(1, 3),
        torch.tensor([[True, True, False]]),
    )
    assert batch.ratio_BC.tolist() == [[0.5, 0.0, 0.0]]


def test_by_candidate():
    assert by_candidate(torch.tensor([1.0, 2.0, 3.0]), [2, 1]).tolist() == [[1.0, 2.0], [3.0, 0.0]]


def test_every_candidate_ends_with_the_end_of_turn_token(tokenizer):
    segment = encode_preference(tokenizer, ROWS[2]).segment
    last = [max(i for i, n in enumerate(segment.sequence) if n == candidate) for candidate in range(4)]
    assert [segment.labels[i] for i in last] == [tokenizer.eos_token_id] * 4
    assert sum(label == tokenizer.eos_token_id for label in segment.labels) == 4


def test_unknown_objective_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'dpo'"):
        load_objective("ddpo", {})


def test_unknown_setting_names_the_allowed():
    with pytest.raises(UserError, match=r"'betta'.* Allowed: beta, label_smoothing, loss\.$"):
        load_objective("dpo", {"betta": 1})


def test_an_answer_without_any_token_has_sum_0_and_a_finite_loss(model):
    """A candidate that is the prompt alone: nothing is predicted, log p = 0; a mean over no tokens is 0, no NaN."""
    segment = candidates_segment([65, 66, 67], [[], [70, 71], []])
    row = EncodedPreference("x", segment, ((0.0, -3.0, 0.0),))
    batch = preference_batch(score(model, collate_preferences([row], 64, 0)), [row])
    assert batch.policy_BC[0, 0] == batch.policy_BC[0, 2] == 0
    assert batch.num_tokens_BC.tolist() == [[0, 2, 0]]
    assert batch.mean_logprobs_BC[0].tolist() == pytest.approx([0, float(batch.policy_BC[0, 1]) / 2, 0])
    for name in ("dpo", "s_dpo"):
        assert torch.isfinite(load_objective(name, {})(batch)).all()


def test_an_empty_text_is_the_end_of_turn_token_alone(model, tokenizer):
    row = Preference("e", (Message("user", "Hm?"),), "Yes.", ("",))
    encoded = encode_preference(tokenizer, row)
    (batch,) = candidate_logprobs(model, [encoded], 512, 0)
    assert batch.num_tokens_BC[0, 1] == 1
    assert batch.policy_BC[0].tolist() == pytest.approx(expected_sums(model, tokenizer, row), abs=1e-3)


def test_a_prompt_keeps_its_tokens_where_an_answer_could_change_them(tokenizer):
    """A tokenizer that has one token for a newline and the T after it: the prompt ends with the newline, and an answer
    with T begins after it, as it does when the model answers."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    newline = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("\n")[0][0]
    state["model"]["vocab"][newline + "T"] = 300
    state["model"]["merges"] = [[newline, "T"]]
    merging = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        chat_template=tokenizer.chat_template,
    )
    row = ROWS[0]
    prompt, answer = prompt_ids(merging, row.prompt), completion_ids(merging, row.chosen)
    joint = merging.encode(render_prompt(merging, row.prompt) + row.chosen, add_special_tokens=False)
    assert joint[: len(prompt)] != prompt
    chosen, *_ = unshared(encode_preference(merging, row).segment)
    assert [*chosen.input_ids, chosen.labels[-1]] == [*prompt, *answer]
    assert [label for label in chosen.labels if label >= 0] == answer


def test_a_row_of_4096_tokens_equals_its_candidates_alone(model, tokenizer):
    """Four answers of 700 tokens after 1,297 of prompt: one row of 4,096 tokens, above the budget it is given."""
    prompt, *answers = random_ids(61, 1297, 700, 700, 700, 700)
    segment = candidates_segment(prompt, answers)
    assert len(segment) == 1296 + 4 * 700 == 4096
    row = EncodedPreference("long", segment)
    (packed,) = candidate_logprobs(model, [row], 512, 0)
    assert packed.policy_BC[0].tolist() == pytest.approx([alone(model, prompt, a) for a in answers], rel=1e-5)
