"""A checkpoint that answers in other processes, a batch at a time: on Ray, a copy of the model in each of its workers.

The batches are those of one process, so the answers are the same where the workers compute like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

from domains.engine import Engine
from experts.answers import Decoding, Prompt, answer_locally, answerable
from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import probe
from experts.encoding import prompt_ids
from experts.generate import Generated, Keep

Batch = list[Prompt]


@dataclass(frozen=True)
class SpreadModel:
    """A checkpoint as a source of answers. Its files must be at the same path on every machine."""

    checkpoint: Checkpoint
    engine: Engine

    @cached_property
    def digest(self) -> str:
        """The digest of the weights: that of the same checkpoint in this process."""
        return self.checkpoint.digest()

    def answer(self, prompts: Sequence[Prompt], decoding: Decoding, keep: Keep) -> None:
        """Answer in batches sorted by length."""
        from transformers import AutoConfig

        tokenizer = load_tokenizer(self.checkpoint.tokenizer_folder)
        config = AutoConfig.from_pretrained(self.checkpoint.base)
        fits = list(answerable(config, tokenizer, prompts, decoding, keep))
        order = sorted(fits, key=lambda place: len(prompt_ids(tokenizer, prompts[place])))
        size = decoding.batch_size
        places = [order[start : start + size] for start in range(0, len(order), size)]
        batches = [[prompts[place] for place in batch] for batch in places]
        work = partial(answer_batch, anywhere(self.checkpoint), decoding)
        for batch, answers in zip(places, self.engine.map(work, batches), strict=True):
            for place, answer in zip(batch, answers, strict=True):
                keep(place, answer)


def anywhere(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint by paths that do not depend on the working folder; a hub id stays what it is."""
    base, adapter, tokenizer = (
        path.resolve() if path and path.exists() else path
        for path in (checkpoint.base, checkpoint.adapter, checkpoint.tokenizer)
    )
    return Checkpoint(base or checkpoint.base, adapter, tokenizer)


def answer_batch(checkpoint: Checkpoint, decoding: Decoding, prompts: Batch) -> list[Generated]:
    """The answers of one batch, in its order."""
    found: dict[int, Generated] = {}
    model, tokenizer = model_of_process(checkpoint)
    answer_locally(model, tokenizer, prompts, decoding, found.__setitem__)
    return [found[place] for place in range(len(prompts))]


@lru_cache(maxsize=1)
def model_of_process(checkpoint: Checkpoint) -> tuple[object, object]:
    """A worker's copy of the model and the tokenizer; the last checkpoint's only."""
    device = probe()
    model = load(checkpoint, device.dtype, device.score_attention).to(device.name).eval()
    return model, load_tokenizer(checkpoint.tokenizer_folder)
