"""The embedded encoder is found without importing its package."""

from __future__ import annotations

import sys

from judges.encoder import PACKAGE, encoder_folder


def test_the_folder_holds_a_model_and_nothing_was_imported():
    before = PACKAGE in sys.modules
    folder = encoder_folder()
    assert (folder / "model.safetensors").is_file()
    assert (folder / "tokenizer.json").is_file()
    assert (PACKAGE in sys.modules) == before
