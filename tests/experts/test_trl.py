"""Losses against TRL's own DPOTrainer: the same texts, policy and reference, its forward pass and ours."""

import warnings

import pytest
import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from domains.example import Message, Preference
from experts.encoding import render_prompt
from experts.objectives import dpo, s_dpo
from experts.preferences import PreferenceBatch, candidate_logprobs, encode_preference
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


def trl_loss(models, folder, **settings):
    """The loss that TRL's trainer computes for the rows in one batch."""
    policy, reference = models
    tokenizer = byte_tokenizer()
    data = [
        {"prompt": render_prompt(tokenizer, r.prompt), "chosen": r.chosen + END, "rejected": r.rejected[0] + END}
        for r in ROWS
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = DPOTrainer(
            model=policy,
            ref_model=reference,
            args=DPOConfig(
                output_dir=str(folder), per_device_train_batch_size=3, report_to="none", bf16=False, use_cpu=True,
                dataloader_pin_memory=False, gradient_checkpointing=False, **settings,
            ),
            train_dataset=Dataset.from_list(data),
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
