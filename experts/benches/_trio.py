"""Generated sharded checkpoints: a base, and an instruct and a domain model near it, of any size, in bf16."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experts.residual import Parents
from experts.weight_files import INDEX, Wanted, new_shard

NUM_TOKENS = 32_000
NUM_SHARDS = 8
BLOCK = 1 << 22
NEAR = 0.05


@dataclass(frozen=True)
class Shape:
    """A Llama of about so many bytes."""

    hidden: int
    layers: int

    @classmethod
    def of(cls, num_bytes: int) -> Shape:
        """Wide for large models; at least one layer."""
        hidden = 2048 if num_bytes >= 10**9 else 512 if num_bytes >= 10**8 else 256
        body = num_bytes - 2 * NUM_TOKENS * hidden
        return cls(hidden, max(1, round(body / (2 * cls(hidden, 1).layer_weights()))))

    def layer_weights(self) -> int:
        """Numbers in a layer."""
        return sum(Wanted(shape, torch.int8).num_bytes for shape in self.layer(0).values())

    def layer(self, number: int) -> dict[str, tuple[int, ...]]:
        """The tensors of a layer; a quarter as many key and value heads."""
        n, prefix = self.hidden, f"model.layers.{number}."
        square = {"self_attn.q_proj": (n, n), "self_attn.o_proj": (n, n)}
        narrow = {"self_attn.k_proj": (n // 4, n), "self_attn.v_proj": (n // 4, n)}
        wide = {"mlp.gate_proj": (4 * n, n), "mlp.up_proj": (4 * n, n), "mlp.down_proj": (n, 4 * n)}
        norms = {"input_layernorm": (n,), "post_attention_layernorm": (n,)}
        return {f"{prefix}{name}.weight": shape for name, shape in {**square, **narrow, **wide, **norms}.items()}

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """All tensors; the output matrix is the embedding."""
        found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (NUM_TOKENS, self.hidden)}
        for number in range(self.layers):
            found |= self.layer(number)
        return found | {"model.norm.weight": (self.hidden,)}

    def shards(self) -> Iterator[dict[str, Wanted]]:
        """The tensors in files of about equal size."""
        wanted = {name: Wanted(shape, torch.bfloat16) for name, shape in self.tensors().items()}
        limit = sum(each.num_bytes for each in wanted.values()) / NUM_SHARDS
        group: dict[str, Wanted] = {}
        for name, each in wanted.items():
            group[name] = each
            if sum(other.num_bytes for other in group.values()) >= limit:
                yield group
                group = {}
        if group:
            yield group


def write_trio(folder: Path, num_bytes: int) -> tuple[Parents, int]:
    """Write the three models; their folders, and the bytes of weights in one of them."""
    shape = Shape.of(num_bytes)
    tokenizer = write_tokenizer(folder / "tokenizer")
    for role in ("base", "instruct", "dapt"):
        size = write_model(folder / role, shape, role)
        for path in tokenizer.iterdir():
            (folder / role / path.name).write_bytes(path.read_bytes())
    return Parents(folder / "dapt", folder / "base", folder / "instruct"), size


def write_model(folder: Path, shape: Shape, role: str) -> int:
    """One model; the siblings of the base lie near it. Returns the bytes of its weights."""
    folder.mkdir(parents=True)
    noise = torch.randn(2 * BLOCK, generator=torch.Generator().manual_seed(0)).mul_(0.02)
    files, total = {}, 0
    groups = list(shape.shards())
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05}-of-{len(groups):05}.safetensors"
        with new_shard(folder / file, group, 0) as shard:
            for name, wanted in group.items():
                for first in range(0, wanted.num_bytes // 2, BLOCK):
                    size = min(BLOCK, wanted.num_bytes // 2 - first)
                    shard.write(name, first, values(noise, role, total + first, size))
                files[name], total = file, total + wanted.num_bytes
            shard.finish("")
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": files}))
    (folder / "config.json").write_text(json.dumps(config(shape)))
    return total


def values(noise: Tensor, role: str, place: int, size: int) -> Tensor:
    """Numbers of a model at a place: those of the base, and a little of other ones."""
    base = noise[place % BLOCK :][:size]
    shift = {"base": 0, "instruct": 12_345, "dapt": 67_890}[role]
    near = noise[(place + shift) % BLOCK :][:size]
    return (base if role == "base" else base + NEAR * near).bfloat16()


def config(shape: Shape) -> dict[str, object]:
    """The model's configuration."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": NUM_TOKENS,
        "hidden_size": shape.hidden,
        "intermediate_size": 4 * shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.hidden // 64,
        "num_key_value_heads": shape.hidden // 256,
        "head_dim": 64,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }


def write_tokenizer(folder: Path) -> Path:
    """A vocabulary of made-up words."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {f"w{number}": number for number in range(NUM_TOKENS - 1)} | {"<end>": NUM_TOKENS - 1}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<end>").save_pretrained(folder)
    return folder
