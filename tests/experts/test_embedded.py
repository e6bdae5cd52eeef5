"""The conversion of the embedded foundation."""

import time
from concurrent.futures import ThreadPoolExecutor

from experts import embedded


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
