"""The keys and values of a prompt's fixed beginning, computed once and used for every request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experts.batch import additive, candidates_segment, collate, pack


@dataclass
class PrefixCache:
    """A prefix in a model's cache. `label_logprobs` scores completions of prefix + suffix in one forward pass."""

    model: Any
    prefix: tuple[int, ...]
    cache: Any = None

    def fill(self) -> None:
        """Compute the prefix, once."""
        if self.cache is None:
            ids = torch.tensor([self.prefix], device=self.model.device)
            self.cache = self.model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values

    @torch.no_grad()
    def label_logprobs(self, suffix: Sequence[int], labels: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities (nats, summed over tokens) of each label after prefix + suffix, shape (num labels,)."""
        self.fill()
        batch = collate(pack([candidates_segment(list(suffix), labels)], 1 << 30), 0)
        size = len(self.prefix)
        past = torch.ones(*batch.mask_R1LL.shape[:3], size, dtype=torch.bool)
        mask = additive(torch.cat([past, batch.mask_R1LL], dim=-1), self.model.dtype)
        target = batch.labels_RL[0] >= 0
        try:
            logits = self.model(
                input_ids=batch.input_ids_RL.to(self.model.device),
                position_ids=(batch.position_ids_RL + size).to(self.model.device),
                attention_mask=mask.to(self.model.device),
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=target.nonzero().squeeze(1).to(self.model.device),
            ).logits
        finally:
            self.restore()
        tokens = batch.labels_RL[0][target].to(self.model.device).unsqueeze(1)
        values = logits[0].float().log_softmax(-1).gather(1, tokens).squeeze(1)
        sums: Tensor = values.new_zeros(len(labels))
        return sums.index_add(0, batch.sequence_RL[0][target].to(values.device), values)

    def restore(self) -> None:
        """Drop from the cache what came after the prefix."""
        extra = self.cache.get_seq_length() - len(self.prefix)
        if extra > 0:
            self.cache.crop(-extra)
