"""The embedded models: the encoder pools as sentence-transformers does, the cached prompt pays off, and held-out
routing rows of the shipped domains find their experts."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest

from domains.domain import GENERAL, Domain
from experts.embedded import foundation_folder
from judges.encoder import encoder_folder
from router.encoder import MAX_TOKENS, load_sentence_encoder
from router.label_map import LabelMap
from router.material import Given, Material
from router.metrics import measured
from router.reader import ModelReader
from router.strategies import few_shot, nearest

pytestmark = pytest.mark.slow
SHIPPED = [Domain.load(name) for name in ("mortgage", "caregiving")]
LABELS = (*(expert for domain in SHIPPED for expert in domain.experts), GENERAL)


def rows(split):
    return [row for domain in SHIPPED for row in domain.utterances(split)]


@pytest.mark.filterwarnings("ignore")
def test_the_encoder_pools_as_sentence_transformers_does():
    from sentence_transformers import SentenceTransformer

    texts = ["My escrow payment went up", "Ипотека 🏠", "", "word " * 200]
    expected = SentenceTransformer(str(encoder_folder()), device="cpu").encode(texts, normalize_embeddings=True)
    found = load_sentence_encoder()(texts)
    assert found.shape == (4, 2, 384)
    assert np.linalg.norm(found, axis=-1) == pytest.approx(np.ones((4, 2)))
    assert (found[:, 0] * expected).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)


def test_of_a_long_text_the_encoder_reads_both_ends():
    encoder = load_sentence_encoder()
    ids = encoder.tokens("alpha " * 300 + "omega " * 300)
    assert len(ids) == MAX_TOKENS
    assert encoder.tokenizer.decode(ids[1:3]) == "alpha alpha"
    assert encoder.tokenizer.decode(ids[-3:-1]) == "omega omega"


def test_nearest_routes_the_shipped_held_out_requests():
    """A floor far below what the README reports: five labels, chance is 0.2."""
    fitted = nearest.fit(Material(LABELS, rows("train"), (), Given(load_sentence_encoder(), None)))
    test = rows("test")
    found = measured(fitted([row.text for row in test]), [row.label for row in test], 0.0)
    assert found["macro_f1"] > 0.65
    assert found["auroc_out_of_scope"] > 0.9


def test_a_cached_prompt_costs_at_most_a_sixth():
    """Processor time of a request, the median of three with and without the cache."""
    reader = ModelReader.load(foundation_folder())
    shots = few_shot.choose_shots(rows("train"), LABELS)
    size = len(LABELS)
    strategy = few_shot.Strategy(reader, LABELS, shots, LabelMap(np.eye(size), np.zeros(size)))
    cached = [seconds(strategy) for _ in range(4)][1:]
    anew = []
    for _ in range(3):
        strategy.forget()
        anew.append(seconds(strategy))
    assert statistics.median(cached) <= statistics.median(anew) / 6


def seconds(strategy):
    """Processor seconds of one request."""
    start = time.process_time()
    strategy(["My escrow payment went up"])
    return time.process_time() - start
