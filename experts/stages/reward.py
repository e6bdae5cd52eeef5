"""A reward model: TRL's RewardTrainer on the training pairs, a LoRA adapter and a scalar head over the domain model.

Every rejected answer makes a pair with the chosen one. Rewards are centred around 0 (Eisenstein et al. 2023, arXiv
2312.09244).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForSequenceClassification, set_seed
from trl import RewardConfig, RewardTrainer

from domains.errors import UserError
from domains.example import Preference
from experts.checkpoint import Checkpoint, add_adapter, load_tokenizer, read_adapter
from experts.device import Device, probe
from experts.encoding import Tokenizer, completion_ids, prompt_ids
from experts.ranks import rank, wait
from experts.recipe import Training
from experts.saving import check_saved, gathered_weights, trained_shapes
from experts.train import LOG, Log, MarkComplete, arguments, fit, num_steps

CENTER = 0.01


def run(start: Checkpoint, rows: Sequence[Preference], settings: Training, seed: int, folder: Path) -> dict[str, Any]:
    """Train; the adapter with its head is written to `folder`."""
    device = probe()
    set_seed(seed)
    tokenizer = padded_by_another(load_tokenizer(start.tokenizer_folder))
    pairs = pairs_of(tokenizer, rows)
    shared = arguments(folder, settings, seed, device, num_steps(len(pairs), settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = RewardTrainer(
            model=scorer(start, device, tokenizer.pad_token_id),
            args=RewardConfig(**shared, max_length=None, center_rewards_coefficient=CENTER),
            train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear", task_type="SEQ_CLS"
            ),
            callbacks=[Log(folder / LOG), MarkComplete()],
        )
        shapes = trained_shapes(trainer.model)
        metrics = fit(trainer, folder)
        weights = gathered_weights(trainer.model)
        if rank() == 0:
            trainer.model.save_pretrained(folder, state_dict=weights)
            check_saved(trainer.model, weights, shapes, folder)
        wait()
    return metrics | {"pairs": len(pairs)}


def scorer(start: Checkpoint, device: Device, pad_id: int) -> Any:
    """The starting model with a scalar head instead of the vocabulary."""
    model = AutoModelForSequenceClassification.from_pretrained(
        start.base, num_labels=1, dtype=device.dtype, attn_implementation=device.score_attention
    )
    model.config.pad_token_id = pad_id
    if start.adapter is not None:
        add_adapter(model, read_adapter(start.adapter))
    return model


def padded_by_another(tokenizer: Any) -> Any:
    """A tokenizer whose padding is not the end-of-turn token: a classifier reads the last token that is no padding."""
    others = [token for token in tokenizer.all_special_tokens if token != tokenizer.eos_token]
    if not others:
        raise UserError("The tokenizer has no special token besides the end of turn. Add a padding token to it.")
    tokenizer.pad_token = others[0]
    return tokenizer


def pairs_of(tokenizer: Tokenizer, rows: Sequence[Preference]) -> list[dict[str, list[int]]]:
    """Every rejected answer against the chosen one, as token ids that end with the end of turn."""
    return [
        {"chosen_ids": texts[0], "rejected_ids": other}
        for texts in (candidate_texts(tokenizer, row) for row in rows)
        for other in texts[1:]
    ]


def candidate_texts(tokenizer: Tokenizer, row: Preference) -> list[list[int]]:
    """Prompt and answer of every candidate, chosen first."""
    prompt = prompt_ids(tokenizer, row.prompt)
    return [[*prompt, *completion_ids(tokenizer, text)] for text in row.candidates]


@torch.no_grad()
def rewards(start: Checkpoint, folder: Path, rows: Sequence[Preference]) -> dict[str, tuple[float, ...]]:
    """The trained model's reward of every candidate, by row id."""
    device = probe()
    tokenizer = padded_by_another(load_tokenizer(start.tokenizer_folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = PeftModel.from_pretrained(scorer(start, device, tokenizer.pad_token_id), folder)
    model = model.to(device.name).eval()
    return {
        row.id: tuple(
            float(model(input_ids=torch.tensor([ids], device=device.name)).logits[0, 0])
            for ids in candidate_texts(tokenizer, row)
        )
        for row in rows
    }
