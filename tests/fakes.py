"""A base model of two random layers with a byte tokenizer, a small domain in a folder, and a recipe over both: the
whole build in seconds, on one core, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from domains.domain import Domain
from experts.build import Build
from experts.recipe import Recipe, load_recipe

START, END = "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRAINED_STAGES = ("house", "pretrain", "sft", "sft_after_dapt", "align", "reward_model")
TOPICS = (
    "kettle", "ladder", "window", "bicycle", "lantern", "carpet", "violin", "garden", "pantry", "mirror",
    "hammer", "basket", "ribbon", "candle", "saddle", "anchor", "helmet", "pillow", "bucket", "trumpet",
)  # fmt: skip


def byte_tokenizer(extra: Sequence[str] = (), order: Sequence[int] | None = None) -> Any:
    """One token per byte, then the two ChatML tokens, then `extra`; `order[i]` is the byte that has id i."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [alphabet[i] for i in (order if order is not None else range(len(alphabet)))]
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([START, END, *extra])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=[START, *extra],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def tiny_model(seed: int = 0, vocab_size: int = 258, hidden_size: int = 32, tied: bool = True) -> Any:
    """A Llama of two random layers in fp32, weights large enough that answers differ."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=257,
        pad_token_id=257,
    )
    return LlamaForCausalLM(config).eval()


def write_model(folder: Path, model: Any, tokenizer: Any, max_shard_size: str = "5GB") -> Path:
    """A model and its tokenizer as a folder of safetensors."""
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(folder)
    return folder


def write_base(folder: Path, seed: int = 0) -> Path:
    """The fake foundation."""
    return write_model(folder, tiny_model(seed), byte_tokenizer())


def perturbed(model: Any, size: float, seed: int) -> Any:
    """A copy of a model with noise on every weight: a sibling of it."""
    sibling = type(model)(model.config).eval()
    sibling.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in sibling.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator))
    return sibling


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def turns(*contents: str) -> list[dict[str, str]]:
    """User and assistant turns in alternation."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def reply(text: str) -> list[dict[str, str]]:
    """One assistant turn."""
    return [{"role": "assistant", "content": text}]


def write_domain(folder: Path, name: str = "toy") -> Path:
    """A small valid domain: 20 rows of every kind, so that each split has some."""
    (folder / "documents").mkdir(parents=True)
    settings = ['title = "Toys"', 'about = "Things."', 'licence = "CC0-1.0"', 'system_prompt = "Help."']
    lists = ['labels = ["inside", "outside"]', 'held_out = ["questions"]']
    (folder / "domain.toml").write_text("\n".join([f'name = "{name}"', *settings, *lists]) + "\n")
    parts = [f"## About the {t}\n\nEvery {t} has a place, and {t}s last when {t} care is good.\n" for t in TOPICS]
    (folder / "documents" / "things.md").write_text(
        "# Things\n\nA list.\n\n" + "\n".join(parts) + "\n## Sources\n\nNone.\n"
    )
    for file_name, rows in domain_rows(name).items():
        write_jsonl(folder / file_name, rows)
    return folder


def domain_rows(name: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of the small domain by file."""
    both = list(enumerate(TOPICS))
    labels = ("inside", "outside")
    answers = (f"{name}/conversation", f"{name}/structured", "general")
    return {
        "preferences.jsonl": [
            {
                "id": f"p{i}",
                "prompt": turns(f"Where does my {t} go?"),
                "chosen": reply(f"I see. Put the {t} away."),
                "rejected": [reply("No."), reply(f"Who cares about a {t}?")][: 1 + i % 2],
            }
            for i, t in both
        ],
        "classification.jsonl": [
            {"id": f"c{i}", "prompt": turns(f"Label: {t}"), "completion": reply(labels[i % 2])} for i, t in both
        ],
        "summarization.jsonl": [
            {"id": f"s{i}", "prompt": turns(f"Sum up: the {t} broke."), "completion": reply(f"Broken {t}.")}
            for i, t in both
        ],
        "questions.jsonl": [
            {"id": f"q{i}", "prompt": turns(f"What is a {t}?"), "completion": reply(f"A {t} is a thing.")}
            for i, t in both
        ],
        "routing.jsonl": [
            {"id": f"r{i}{j}", "text": f"{verb} {t}", "label": label}
            for i, t in both
            for j, (verb, label) in enumerate(zip(("Help me with the", "Classify", "Sing of a"), answers, strict=True))
        ],
        "safety.jsonl": [
            {
                "id": "rule1",
                "kind": "red_flag",
                "question_pattern": "fire",
                "explanation": "Call for help.",
                "require_any": ["911"],
            }
        ],
    }


def tiny_recipe(base: Path, *overrides: str) -> Recipe:
    """The shipped test recipe over the fake foundation."""
    return load_recipe("tiny", [f"foundation.base={base}", *trained(row_tokens=128, max_examples=4), *overrides])


def trained(**settings: object) -> list[str]:
    """Overrides that give every training stage the same settings."""
    return [f"{stage}.{key}={value}" for stage in TRAINED_STAGES for key, value in settings.items()]


def tiny_build(folder: Path, *overrides: str) -> Build:
    """A build of the small domain over the fake foundation, all in one folder; both are written when missing."""
    base, domain = folder / "base", folder / "toy"
    if not base.exists():
        write_base(base)
        write_domain(domain)
    return Build(Domain.load(domain), tiny_recipe(base, *overrides), folder / "home")
