"""A process that answers prompts with the fake model, to be killed: `python -m tests.fakes_killed FOLDER`.

It prints the key of every answer once its row is written.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from domains.example import Message
from experts.answers import Answerer, AnswerStore, Decoding, LocalModel
from experts.generate import Generated
from tests.fakes import byte_tokenizer, tiny_model

PROMPTS = [(Message("user", f"What is number {i}?"),) for i in range(60)]
SETTINGS = Decoding(max_new_tokens=24, batch_size=3)


class Telling(AnswerStore):
    """A store that says what it has written."""

    def add(self, key: str, answer: Generated) -> None:
        super().add(key, answer)
        print(key, flush=True)
        time.sleep(0.05)  # so that the signal comes before the last row


def answerer_in(folder: Path, store: type[AnswerStore] = AnswerStore) -> Answerer:
    """The fake model over a folder's answers."""
    return Answerer(LocalModel(tiny_model(), byte_tokenizer(), "tiny"), store.open(folder / "answers.jsonl"))


if __name__ == "__main__":
    answerer_in(Path(sys.argv[1]), Telling)(PROMPTS, SETTINGS)
