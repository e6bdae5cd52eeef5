"""A preference head: one number, the reward, from the hidden state of an answer's last token. arXiv 2405.20053.

It only reads, so the language model's output is the same bit for bit with the head and without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import silu

from domains.atomic import write_text_atomically
from domains.errors import UserError

POOLERS = ("identity", "tanh", "swiglu")
WEIGHTS, CONFIG = "head.safetensors", "head.json"


class PreferenceHead(nn.Module):
    """`r = w . pool(h)` in fp32, without a bias. Poolers: the hidden state itself; `tanh(W h + b)` as in BERT; or
    `tanh(W2 (silu(W1 h) * W3 h))`."""

    def __init__(self, hidden_size: int, pooler: str = "identity", seed: int = 0) -> None:
        super().__init__()
        self.hidden_size, self.pooler = hidden_size, pooler
        self.dense: nn.Module = nn.Identity()
        self.gated: nn.Module = nn.Identity()
        generator = torch.Generator().manual_seed(seed)
        if pooler == "tanh":
            self.dense = nn.Linear(hidden_size, hidden_size)
        if pooler == "swiglu":
            self.gated = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
            self.dense = nn.Linear(hidden_size, hidden_size, bias=False)
        self.reward = nn.Linear(hidden_size, 1, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.02, generator=generator)
        nn.init.zeros_(self.reward.weight)  # every reward starts at 0: the loss starts at a known value

    def forward(self, hidden_SH: Tensor) -> Tensor:
        """Rewards (S,) of S hidden states; in fp32 also where the model around it trains in mixed precision."""
        with torch.autocast(hidden_SH.device.type, enabled=False):
            return self.rewards(hidden_SH.float())

    def rewards(self, pooled: Tensor) -> Tensor:
        """Rewards (S,) of S hidden states in fp32."""
        if self.pooler == "swiglu":
            gate, value = self.gated(pooled).chunk(2, -1)
            pooled = silu(gate) * value
        if self.pooler != "identity":
            pooled = torch.tanh(self.dense(pooled))
        rewards: Tensor = self.reward(pooled).squeeze(-1)
        return rewards

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the weights (its own, or those gathered from several processes) and what they are."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.state_dict() if weights is None else weights
        save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS)
        write_text_atomically(folder / CONFIG, json.dumps({"hidden_size": self.hidden_size, "pooler": self.pooler}))


def load_head(folder: Path) -> PreferenceHead:
    """The head in an expert's folder."""
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"There is no preference head in {folder}. Build an expert with align.objective=dph first.")
    config = json.loads((folder / CONFIG).read_text())
    head = PreferenceHead(config["hidden_size"], config["pooler"])
    head.load_state_dict(load_file(folder / WEIGHTS))
    return head.eval().requires_grad_(False)
