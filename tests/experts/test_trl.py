"""Losses against TRL's own DPOTrainer: the same texts, policy and reference, its forward pass and ours."""

import warnings

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer

from domains.example import Message, Preference
from experts.alignment import Alignment, train_preferences
from experts.checkpoint import WEIGHTS, Checkpoint, load_base
from experts.encoding import render_prompt
from experts.objectives import dpo, s_dpo
from experts.preferences import PreferenceBatch, candidate_logprobs, encode_preference
from experts.recipe import Align
from experts.train import prepare
from tests.fakes import END, byte_tokenizer, perturbed, tiny_model

ROWS = (
    Preference("a", (Message("user", "Where does it go?"),), "There, on the left.", ("No.",)),
    Preference("b", (Message("system", "Be kind."), Message("user", "When?")), "Now.", ("Never, I would say.",)),
    Preference("c", (Message("user", "Why?"),), "Because it rains.", ("Because it rains not.",)),
)


@pytest.fixture(scope="module")
def models():
    """A policy, and a reference that differs from it."""
    reference = tiny_model()
    return perturbed(reference, 0.05, seed=4), reference


def trl_rows():
    """The rows as TRL takes them."""
    tokenizer = byte_tokenizer()
    return [
        {"prompt": render_prompt(tokenizer, r.prompt), "chosen": r.chosen + END, "rejected": r.rejected[0] + END}
        for r in ROWS
    ]


def trl_loss(models, folder, **settings):
    """The loss that TRL's trainer computes for the rows in one batch."""
    policy, reference = models
    tokenizer = byte_tokenizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = DPOTrainer(
            model=policy,
            ref_model=reference,
            args=DPOConfig(
                output_dir=str(folder), per_device_train_batch_size=3, report_to="none", bf16=False, use_cpu=True,
                dataloader_pin_memory=False, gradient_checkpointing=False, **settings,
            ),
            train_dataset=Dataset.from_list(trl_rows()),
            processing_class=tokenizer,
        )  # fmt: skip
        batch = next(iter(trainer.get_train_dataloader()))
        return float(trainer.compute_loss(trainer.model, batch).detach())


def our_batch(models) -> PreferenceBatch:
    """The same rows by shared-prefix scoring."""
    tokenizer = byte_tokenizer()
    encoded = [encode_preference(tokenizer, row) for row in ROWS]
    policy, reference = (candidate_logprobs(model, encoded, 512, 0) for model in models)

    def stack(batches, name):
        return torch.cat([getattr(batch, name) for batch in batches])

    return PreferenceBatch(
        stack(policy, "policy_BC"),
        stack(reference, "policy_BC"),
        stack(policy, "num_tokens_BC"),
        stack(policy, "present_BC"),
    )


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (dpo.Objective(0.3), {"loss_type": "sigmoid", "beta": 0.3}),
        (s_dpo.Objective(0.3), {"loss_type": "sigmoid", "beta": 0.3}),
        (dpo.Objective(0.3, 0.2, "robust"), {"loss_type": "robust", "beta": 0.3, "label_smoothing": 0.2}),
        (dpo.Objective(0.3, loss="hinge"), {"loss_type": "hinge", "beta": 0.3}),
        (dpo.Objective(0.3, loss="ipo"), {"loss_type": "ipo", "beta": 0.3}),
    ],
)
def test_equals_trls_trainer(models, tmp_path, objective, settings):
    """The policy is no copy of the reference, so the loss is not the constant of a zero margin."""
    batch = our_batch(models)
    assert float(batch.margins_BK.abs().min()) > 0.01
    assert float(objective(batch).mean()) == pytest.approx(trl_loss(models, tmp_path, **settings), rel=1e-4)


class Losses(TrainerCallback):
    """Keeps every logged loss."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_log(self, args, state, control, logs=None, **_):
        if logs and "loss" in logs:
            self.found.append(float(logs["loss"]))


def test_six_steps_of_training_are_trls(base, tmp_path, monkeypatch):
    """fp32, the same adapter at the start, the same rate and clipping, all three rows a step: the losses stay equal
    while they fall, so gradients, optimiser and schedule are the same too."""
    monkeypatch.setenv("EXPERTSMITH_DTYPE", "float32")
    ours, theirs = Losses(), Losses()
    settings = Align(
        rank=4, learning_rate=2e-3, epochs=6, batch_rows=3, accumulation=1, warmup=0, row_tokens=512
    )  # fmt: skip
    prepare(Checkpoint(base), settings, seed=0).model.save_pretrained(tmp_path / "start")
    alignment = Alignment(s_dpo.Objective(0.3))
    train_preferences(Checkpoint(base), ROWS, alignment, settings, 0, tmp_path / "ours", [ours])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train_by_trl(base, tmp_path, theirs)
    assert ours.found[-1] < ours.found[0] - 0.02
    assert ours.found == pytest.approx(theirs.found, abs=1e-4)


def train_by_trl(base, folder, losses):
    """TRL's trainer from the same adapter."""
    trainer = DPOTrainer(
        model=load_base(base, torch.float32, "eager"),
        args=DPOConfig(
            output_dir=str(folder / "theirs"), per_device_train_batch_size=3, max_steps=6, beta=0.3, learning_rate=2e-3,
            lr_scheduler_type="cosine", warmup_steps=0, logging_steps=1, report_to="none", save_strategy="no",
            bf16=False, use_cpu=True, dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list(trl_rows()),
        processing_class=byte_tokenizer(),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[losses],
    )  # fmt: skip
    set_peft_model_state_dict(trainer.model, load_file(folder / "start" / WEIGHTS))
    trainer.train()
