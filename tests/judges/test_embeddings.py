"""Windows over texts that are longer than the encoder reads at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from domains.errors import UserError
from judges.embeddings import Encoder, load_encoder
from judges.encoder import encoder_folder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("", None)


@pytest.mark.parametrize("length", [0, 1, 510, 511, 600, 765, 766, 1300, 5000])
def test_windows_take_every_token_once_with_context_on_both_sides(encoder: Encoder, length: int):
    """Room for 510 tokens, steps of 255: a token away from the text's ends has at least 127 tokens on each side."""
    ids = tuple(range(1000, 1000 + length))
    windows = encoder.windows(0, ids)
    taken = [i for window in windows for i in range(window.start, window.stop)]
    assert taken == list(range(length))
    assert all(len(window.ids) <= 512 for window in windows)
    for left, right in zip(windows, windows[1:], strict=False):
        border = left.stop
        assert left.offset + 510 - border >= 127
        assert border - right.offset >= 127


def test_a_short_text_is_what_one_pass_gives(encoder: Encoder):
    text = "Call the servicer and ask for a payoff letter."
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder())
    model = AutoModel.from_pretrained(encoder_folder()).eval()
    with torch.no_grad():
        direct_ND = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    direct_ND = torch.nn.functional.normalize(direct_ND, dim=-1)
    [embedded, _] = encoder.embed([text, "A longer neighbour in the batch, " * 5])
    assert torch.allclose(embedded.tokens_ND, direct_ND, atol=1e-5)
    assert embedded.weights_N.tolist() == [0.0, *[1.0] * (len(direct_ND) - 2), 0.0]


def test_the_model_is_loaded_once():
    assert load_encoder("", None) is load_encoder("", None)


def test_an_unknown_model_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(str(tmp_path), None)


def test_a_layer_that_is_not_there_is_a_user_error():
    with pytest.raises(UserError, match="Use 1 to 6"):
        load_encoder("", 7)
