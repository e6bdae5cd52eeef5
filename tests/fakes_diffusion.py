"""A tiny diffusion model of coloured shapes, made on the spot: it paints the wrong colour in a known share of cases."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

import torch
from torch import nn

from domains.example import Message
from experts.improvement.learners.diffusion import predicted, target_of, tensor_of, words_BLD
from judges.pictures import COLOURS, SHAPES, Box, Picture, draw
from judges.verifier import Task

SIZE, WORDS, LEVELS, BATCH = 8, 6, 100, 16


def task(shape: str, colour: str, number: int = 0) -> Task:
    """A request for a picture."""
    request = (Message("user", f"Draw a {colour} {shape}."),)
    return Task(f"{colour}-{shape}-{number}", request, {"shape": shape, "colour": colour})


def tasks(copies: int) -> list[Task]:
    """Every shape in every colour, so many times."""
    return [task(s, c, n) for n in range(copies) for s in SHAPES for c in COLOURS]


def picture(shape: str, colour: str) -> Picture:
    """A figure of six pixels in the middle."""
    return draw(SIZE, shape, colour, Box(1, 1, 6, 6))


@lru_cache(maxsize=2)
def tiny_model(prediction: str) -> tuple[nn.Module, Any]:
    """An untrained U-Net with cross-attention, and its scheduler ("epsilon" or "v_prediction"); nobody changes it."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIZE, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(32,),
        down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8,
        class_embed_type="projection", projection_class_embeddings_input_dim=32,
    )  # fmt: skip
    scheduler = DDIMScheduler(num_train_timesteps=LEVELS, beta_start=0.001, beta_end=0.15, prediction_type=prediction)
    return unet, scheduler


def pretrain(unet: nn.Module, scheduler: Any, steps: int, wrong_share: float, seed: int = 0) -> nn.Module:
    """A copy that was trained on figures of which a share has another colour than its caption says."""
    unet = deepcopy(unet)
    random, generator = Random(seed), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(unet.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    choices = tasks(1)
    for _ in range(steps):
        chosen = [random.choice(choices) for _ in range(BATCH)]
        shown = [painted(each, random, wrong_share) for each in chosen]
        pictures = torch.stack([tensor_of(picture(t.facts["shape"], t.facts["colour"])) for t in shown])
        words = words_BLD([t.question for t in chosen], WORDS, 32)
        levels = torch.randint(LEVELS, (BATCH,), generator=generator)
        noise = torch.randn(pictures.shape, generator=generator)
        found = predicted(unet, scheduler.add_noise(pictures, noise, levels), levels, words)
        loss = (found - target_of(scheduler, pictures, noise, levels)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return unet.eval()


def painted(wanted: Task, random: Random, wrong_share: float) -> Task:
    """The task that a picture is painted for: in a share of cases one of another colour."""
    if random.random() >= wrong_share:
        return wanted
    colour = random.choice([name for name in COLOURS if name != wanted.facts["colour"]])
    return replace(wanted, facts={**wanted.facts, "colour": colour})
