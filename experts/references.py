"""Reference log-probabilities, computed once and kept on disk: keyed by model, template and the text of each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from domains.atomic import write_text_atomically
from domains.errors import UserError
from domains.example import Preference
from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import probe
from experts.digests import digest_of
from experts.encoding import template_digest
from experts.preferences import candidate_logprobs, collator_for, encode_preference
from experts.train import Trainable

Column = list[tuple[float, ...]]
TOLERANCE = 0.02


def row_key(model_digest: str, template: str, row: Preference) -> str:
    """The cache key of one row."""
    return digest_of([model_digest, template, [m.as_dict() for m in row.prompt], row.candidates])


@dataclass(frozen=True)
class ReferenceCache:
    """Sums of log-probabilities (nats) in a file; rows are scored in packed rows of `row_tokens`."""

    path: Path
    row_tokens: int = 512

    def column(self, reference: Checkpoint, rows: Sequence[Preference], loaded: Trainable | None) -> Column:
        """One reference's sums for the candidates of each row. It reads the text with its own tokenizer and template;
        `loaded` is the model itself where it is in memory."""
        tokenizer = loaded.tokenizer if loaded else load_tokenizer(reference.tokenizer_folder)
        digest, template = reference.digest(), template_digest(tokenizer)
        keys = [row_key(digest, template, row) for row in rows]

        def score_rows(missing: Sequence[Preference]) -> Column:
            device = probe()
            ready = loaded or Trainable(
                load(reference, device.dtype, device.score_attention).to(device.name), tokenizer, device
            )
            return sums_of(ready, missing, self.row_tokens)

        return self.filled(keys, rows, score_rows)

    def filled(
        self, keys: Sequence[str], rows: Sequence[Preference], score_rows: Callable[[Sequence[Preference]], Column]
    ) -> Column:
        """Sums by key; only rows that the file lacks are scored, and one that it has is scored again as a check."""
        known: dict[str, list[float]] = json.loads(self.path.read_text()) if self.path.exists() else {}
        missing = [i for i, key in enumerate(keys) if key not in known]
        probe_row = next((i for i, key in enumerate(keys) if key in known), None)
        if missing:
            wanted = missing + ([probe_row] if probe_row is not None else [])
            values = dict(zip(wanted, score_rows([rows[i] for i in wanted]), strict=True))
            if probe_row is not None:
                check_same(known[keys[probe_row]], values[probe_row], self.path)
            known |= {keys[i]: list(values[i]) for i in missing}
            write_text_atomically(self.path, json.dumps(known))
        return [tuple(known[key]) for key in keys]


def check_same(kept: Sequence[float], found: Sequence[float], path: Path) -> None:
    """Refuse a cache that says something else than the model."""
    if any(abs(a - b) > TOLERANCE * max(1.0, abs(b)) for a, b in zip(kept, found, strict=True)):
        raise UserError(f"The reference log-probabilities in {path.name} are not those of the model. Remove the file.")


def sums_of(ready: Trainable, rows: Sequence[Preference], row_tokens: int) -> Column:
    """Log-probabilities (nats) of every candidate under a loaded model."""
    encoded = [encode_preference(ready.tokenizer, row) for row in rows]
    pad_id = ready.tokenizer.pad_token_id
    with torch.autocast(ready.device.name, torch.bfloat16, enabled=ready.device.bf16):
        collator = collator_for(ready.model, encoded[0], row_tokens, pad_id)
        scored = candidate_logprobs(ready.model, encoded, row_tokens, pad_id, collator)
    return [tuple(batch.policy_BC[0, : len(row.candidates)].tolist()) for batch, row in zip(scored, rows, strict=True)]
