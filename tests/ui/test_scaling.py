"""Cost on paper by hand, the line through measured points, and the page that is written from both."""

import json
from pathlib import Path

import pytest

from ui.benches._paper import (
    LLAMA_8B,
    MACHINES,
    SMOLLM_135M,
    Machine,
    adapter_bytes,
    decode_seconds,
    most_users,
    packed_share,
    train_seconds,
    training_bytes,
)
from ui.benches._scaling_page import number, page, table
from ui.benches.scaling import fitted

ONE = Machine("one", 1, peak=1e15, bandwidth=1e12, memory=100e9)
DOCS = Path(__file__).parents[2] / "docs"


def test_training_by_hand():
    """6 x 8.03e9 x 1e9 operations at 40% of 1e15 a second are 120,450 s; LoRA is two thirds of it; two machines that
    keep 80% are 1.6 of one."""
    assert train_seconds(LLAMA_8B, 1e9, "full", ONE) == pytest.approx(120_450)
    assert train_seconds(LLAMA_8B, 1e9, "lora", ONE) == pytest.approx(80_300)
    two = Machine("two", 2, peak=1e15, together=0.8)
    assert train_seconds(LLAMA_8B, 1e9, "full", two) == pytest.approx(120_450 / 1.6)


def test_memory_by_hand():
    """AdamW: 16 x 8.03e9 bytes, an eighth on each of eight; LoRA holds 2 bytes a weight everywhere."""
    assert training_bytes(LLAMA_8B, "full", MACHINES[0]) == pytest.approx(128.48e9)
    assert training_bytes(LLAMA_8B, "full, recomputed", MACHINES[1]) == pytest.approx(16.06e9)
    assert training_bytes(LLAMA_8B, "lora", MACHINES[1]) == pytest.approx(16.06e9)


def test_adapters_by_hand():
    """Rank 16 over Llama-3.1-8B: per layer 16 x (q 8192 + o 8192 + k 5120 + v 5120 + 3 x 18432) = 1,310,720 numbers, 32
    layers, 2 bytes: 83.9 MB. PEFT says 41,943,040 trained numbers. SmolLM2-135M: 4,884,480."""
    assert adapter_bytes(LLAMA_8B, 16) == 2 * 41_943_040
    assert adapter_bytes(SMOLLM_135M, 16) == 2 * 4_884_480


def test_decoding_by_hand():
    """Keys and values: 2 x 32 layers x 8 heads x 128 x 2 bytes = 131,072 a token. One user with 1,000 tokens reads
    16.06 + 0.131 GB at 0.6 TB/s. In 90 GB: (90 - 16.06 - 10 x 0.0839) GB / 0.131 GB = 557 users."""
    assert LLAMA_8B.kv_bytes == 131_072
    assert decode_seconds(LLAMA_8B, 1, 1000, ONE) == pytest.approx((16.06e9 + 131.072e6) / 0.6e12)
    assert most_users(LLAMA_8B, 1000, ONE, 10) == 557
    assert most_users(LLAMA_8B, 1000, Machine("small", 1, memory=16e9), 10) == 0


def test_a_shared_prompt_by_hand():
    """300 + 2 x 200 of 2 x 500 tokens."""
    assert packed_share(300, 200, 2) == pytest.approx(0.7)
    assert packed_share(300, 200, 1) == 1


def test_the_line_by_hand():
    """2 + 3 x exactly; then one point off the line."""
    points = [{"amount": x, "seconds": 2 + 3 * x} for x in (1, 2, 4)]
    assert fitted(points) == {"fixed": 2.0, "per_unit": 3.0, "r2": 1.0}
    assert fitted([*points, {"amount": 8, "seconds": 50}])["r2"] < 0.999


def test_numbers_and_tables():
    assert [number(x) for x in (0, 0.00001234, 0.01234, 12.34, 1234.5)] == ["0", "1.2e-05", "0.0123", "12.3", "1,234"]
    assert table(["a"], [["1"]]) == "| a |\n| --- |\n| 1 |"


def test_the_page_is_the_one_of_the_numbers():
    """docs/scaling.md is written from docs/scaling.json and not by hand; every table has cells under every head."""
    text = page(json.loads((DOCS / "scaling.json").read_text(encoding="utf-8")))
    assert (DOCS / "scaling.md").read_text(encoding="utf-8") == text
    for block in (block for block in text.split("\n\n") if block.startswith("|")):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    for word in ("2 CPU cores", "1 x H100", "8 x H100", "2 N forward", "least squares"):
        assert word in text
