"""Reference log-probabilities, computed once and kept on disk: keyed by model, number format,
template and the text of each row."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from domains.atomic import write_text_atomically
from domains.errors import UserError
from domains.example import Preference
from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import Device, probe
from experts.digests import digest_of
from experts.encoding import template_digest
from experts.logprobs import projection
from experts.preferences import candidate_logprobs, encode_preference
from experts.ranks import rank
from experts.train import Trainable

Column = list[tuple[float, ...]]
TOLERANCE = 0.02


def row_key(model_digest: str, template: str, row: Preference, number_format: str) -> str:
    """The cache key of one row."""
    return digest_of([model_digest, template, number_format, [m.as_dict() for m in row.prompt], row.candidates])


def number_format_of(device: Device, loaded: Trainable | None) -> str:
    """What the weights are in, and what they are computed in where that is mixed."""
    weights = projection(loaded.model).dtype if loaded else device.dtype
    quantized = " quantized" if loaded and getattr(loaded.model, "is_quantized", False) else ""
    return f"{str(weights).removeprefix('torch.')}{quantized}{' under bfloat16' if device.bf16 else ''}"


@dataclass(frozen=True)
class ReferenceCache:
    """Sums of log-probabilities (nats) in a file; rows are scored in packed rows of `row_tokens`."""

    path: Path
    row_tokens: int = 512

    def column(self, reference: Checkpoint, rows: Sequence[Preference], loaded: Trainable | None) -> Column:
        """One reference's sums for the candidates of each row. It reads the text with its own tokenizer and template;
        `loaded` is the model itself where it is in memory."""
        tokenizer = loaded.tokenizer if loaded else load_tokenizer(reference.tokenizer_folder)
        device = loaded.device if loaded else probe()
        digest, template, number_format = (
            reference.digest(),
            template_digest(tokenizer),
            number_format_of(device, loaded),
        )
        keys = [row_key(digest, template, row, number_format) for row in rows]

        def score_rows(missing: Sequence[Preference]) -> Column:
            ready = loaded or Trainable(
                load(reference, device.dtype, device.score_attention).to(device.name), tokenizer, device
            )
            return sums_of(ready, missing, self.row_tokens)

        return self.filled(keys, rows, score_rows)

    def filled(
        self, keys: Sequence[str], rows: Sequence[Preference], score_rows: Callable[[Sequence[Preference]], Column]
    ) -> Column:
        """Sums by key; only rows that the file lacks are scored, and one that it has is scored again as a check, by the
        first process alone."""
        known: dict[str, list[float]] = json.loads(self.path.read_text()) if self.path.exists() else {}
        missing = [i for i, key in enumerate(keys) if key not in known]
        probed = [i for i, key in enumerate(keys) if key in known][: 1 if rank() == 0 else 0]
        wanted = missing + probed
        values = dict(zip(wanted, score_rows([rows[i] for i in wanted]) if wanted else (), strict=True))
        for i in wanted:
            check_finite(values[i], rows[i])
        for i in probed:
            check_same(known[keys[i]], values[i], self.path)
        if missing:
            known |= {keys[i]: list(values[i]) for i in missing}
            write_text_atomically(self.path, json.dumps(known))
        return [tuple(known[key]) for key in keys]


def check_finite(found: Sequence[float], row: Preference) -> None:
    """Refuse sums that are no numbers: nothing could be learnt from them."""
    if not all(map(math.isfinite, found)):
        raise UserError(
            f"A reference gives row '{row.id}' log-probabilities that are not finite ({found[0]:g}, ...). Its weights "
            "may be damaged, or need a wider number format: try EXPERTSMITH_DTYPE=float32."
        )


def check_same(kept: Sequence[float], found: Sequence[float], path: Path) -> None:
    """Refuse a cache that says something else than the model."""
    near = [abs(a - b) <= TOLERANCE * max(1.0, abs(b)) for a, b in zip(kept, found, strict=False)]
    if len(kept) != len(found) or not all(near):  # so that a NaN is a difference
        raise UserError(f"The reference log-probabilities in {path.name} are not those of the model. Remove the file.")


def sums_of(ready: Trainable, rows: Sequence[Preference], row_tokens: int) -> Column:
    """Log-probabilities (nats) of every candidate under a loaded model."""
    encoded = [encode_preference(ready.tokenizer, row) for row in rows]
    pad_id = ready.tokenizer.pad_token_id
    with torch.autocast(ready.device.name, torch.bfloat16, enabled=ready.device.bf16):
        scored = candidate_logprobs(ready.model, encoded, row_tokens, pad_id)
    return [tuple(batch.policy_BC[0, : len(row.candidates)].tolist()) for batch, row in zip(scored, rows, strict=True)]
