"""Reference log-probabilities, computed once and kept on disk: keyed by model, template and the text of each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from domains.atomic import write_text_atomically
from domains.example import Preference
from experts.digests import digest_of
from experts.preferences import EncodedPreference

Scorer = Callable[[Sequence[EncodedPreference]], list[tuple[float, ...]]]


def row_key(model_digest: str, template: str, row: Preference) -> str:
    """The cache key of one row."""
    return digest_of([model_digest, template, [m.as_dict() for m in row.prompt], row.candidates])


def with_references(
    rows: Sequence[EncodedPreference], keys: Sequence[str], cache: Path, score_rows: Scorer
) -> list[EncodedPreference]:
    """Rows with their reference sums (nats); only rows that the cache lacks are scored."""
    known: dict[str, list[float]] = json.loads(cache.read_text()) if cache.exists() else {}
    missing = [i for i, key in enumerate(keys) if key not in known]
    if missing:
        values = score_rows([rows[i] for i in missing])
        known |= {keys[i]: list(sums) for i, sums in zip(missing, values, strict=True)}
        write_text_atomically(cache, json.dumps(known))
    return [replace(row, reference=tuple(known[key])) for row, key in zip(rows, keys, strict=True)]
