"""A small diffusion model as a learner, in the place of the text expert: the loop does not know the difference.

It draws pictures with DDIM (arXiv 2010.02502) and trains a LoRA with Diffusion-DPO (Wallace et al., arXiv 2311.12908)
against its frozen start. The evidence bound stands for the log-probability: with unit weights on all T noise levels,
log p(x) = -T/2 E_t ||noise - predicted noise||^2 up to a constant (of velocities, where the model predicts these), so
that any objective of experts/objectives that reads log-ratios applies: `dpo` is eq. 14 of the paper, `s_dpo` the same
against several rejected pictures.

Needs the extra: pip install 'expertsmith[diffusers]'.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from domains.errors import UserError
from experts.improvement.learner import Attempt, Burst, Codec, Lesson, Turn
from experts.preferences import Objective, PreferenceBatch, load_objective
from judges.pictures import Picture
from judges.verifier import Task

EXTRA = "diffusers"
LORA = "lora.safetensors"
STATE = "learner.json"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "time_emb_proj")
MAX_GRADIENT = 1.0
PICTURE: Codec[Picture] = Codec(Picture.as_dict, Picture.from_dict)


@dataclass(frozen=True)
class Drawing:
    """`steps` denoising steps, `batch_size` pictures at a time, `words` word vectors of a request."""

    steps: int = 12
    batch_size: int = 32
    words: int = 6


@dataclass(frozen=True)
class Schooling:
    """A LoRA of `rank` (its first factors drawn with `seed`) at `learning_rate` under an objective that reads
    log-ratios; each lesson of a step counts with `draws` noise levels."""

    objective: str = "s_dpo"
    settings: dict[str, Any] = field(default_factory=lambda: {"beta": 0.02})
    rank: int = 8
    learning_rate: float = 1e-3
    draws: int = 8
    seed: int = 0


@dataclass
class DiffusionLearner:
    """A U-Net with a LoRA over it and a noise scheduler; requests are read by `words_BLD`."""

    unet: Any
    scheduler: Any
    drawing: Drawing = field(default_factory=Drawing)
    schooling: Schooling = field(default_factory=Schooling)
    version: int = 0

    @classmethod
    def over(cls, unet: nn.Module, scheduler: Any, **settings: Any) -> DiffusionLearner:
        """A learner that starts as a model is; the model itself is not changed."""
        made = cls(deepcopy(unet), scheduler, **settings)
        rank = made.schooling.rank
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS), lora_dropout=0.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(made.schooling.seed)
            made.unet = get_peft_model(made.unet.eval().requires_grad_(False), config)
        return made

    @classmethod
    def open(cls, folder: Path, **settings: Any) -> DiffusionLearner:
        """A learner over a model in the layout of diffusers: `unet/` and `scheduler/`."""
        library = diffusers()
        for part in ("unet", "scheduler"):
            if not (folder / part).is_dir():
                raise UserError(f"{folder} has no folder {part}. Give a model in the layout of diffusers.")
        unet = library.UNet2DConditionModel.from_pretrained(folder / "unet")
        return cls.over(unet, library.DDIMScheduler.from_pretrained(folder / "scheduler"), **settings)

    @property
    def objective(self) -> Objective:
        """What a burst minimises."""
        found = load_objective(self.schooling.objective, dict(self.schooling.settings))
        if found.needs - {"reference"}:
            raise UserError(f"The objective {self.schooling.objective} needs more than log-ratios. Take dpo or s_dpo.")
        return found

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return int(self.unet.config["sample_size"])

    def answer(self, task: Task, trace: Sequence[Attempt[Picture]], seed: int) -> Picture:
        """One picture."""
        return self.answer_all([Turn(task, tuple(trace))], seed)[0]

    def answer_all(self, turns: Sequence[Turn[Picture]], seed: int) -> list[Picture]:
        """One picture a turn. A revision begins from other noise; the noise depends on the seed, the task and the
        attempt alone, so that a picture does not change with the others of its batch."""
        size, found = self.drawing.batch_size, []
        for first in range(0, len(turns), size):
            found += self.draw(turns[first : first + size], seed)
        return found

    @torch.no_grad()
    def draw(self, turns: Sequence[Turn[Picture]], seed: int) -> list[Picture]:
        """A batch of pictures by DDIM without added noise (eta = 0)."""
        words_BLD = self.read([turn.task for turn in turns])
        picture_BCHW = torch.stack([self.noise(f"{seed}/{turn.task.id}/{len(turn.trace)}") for turn in turns])
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(self.drawing.steps)
        for step in scheduler.timesteps:
            found_BCHW = predicted(self.unet, picture_BCHW, step, words_BLD)
            picture_BCHW = scheduler.step(found_BCHW, step, picture_BCHW).prev_sample
        return [Picture.of(one.permute(1, 2, 0).double().numpy() / 2 + 0.5) for one in picture_BCHW]

    def noise(self, name: str) -> Tensor:
        """Gaussian noise (C, H, W) that its name decides."""
        generator = torch.Generator().manual_seed(seed_of(name))
        return torch.randn(self.unet.config["in_channels"], self.size, self.size, generator=generator)

    def read(self, tasks: Sequence[Task]) -> Tensor:
        """The words of requests (B, L, D)."""
        return words_BLD([task.question for task in tasks], self.drawing.words, self.unet.config["cross_attention_dim"])

    def train(self, rows: Sequence[Lesson[Picture]], num_steps: int, seed: int) -> Burst:
        """A burst; afterwards the learner is one version on. It depends on the version, the rows and the seed only, so
        that one which was killed is simply done again."""
        generator, objective = torch.Generator().manual_seed(seed), self.objective
        weights = [weight for weight in self.unet.parameters() if weight.requires_grad]
        optimiser = torch.optim.AdamW(weights, lr=self.schooling.learning_rate)
        losses, num_pictures = [], 0
        for step in range(num_steps):
            group = rows[step::num_steps]
            if not group:
                break
            batch = self.batch(group, generator)
            loss = objective(batch).mean()
            if not bool(loss.isfinite()):
                raise FloatingPointError(f"the loss of step {step + 1} is {loss.item()}")
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, MAX_GRADIENT)
            optimiser.step()
            losses.append(loss.item())
            num_pictures += int(batch.present_BC.sum())
        self.version += 1
        return Burst(sum(losses) / max(1, len(losses)), len(losses), num_pictures, num_pictures)

    def batch(self, lessons: Sequence[Lesson[Picture]], generator: torch.Generator) -> PreferenceBatch:
        """Lessons at `draws` noise levels each, as what an objective sees (B = lessons x draws). All pictures of a row
        get the same noise at the same level, which cancels most of its variance."""
        drawn = [lesson for lesson in lessons for _ in range(self.schooling.draws)]
        most = max(1 + len(lesson.rejected) for lesson in drawn)
        present_BC = torch.tensor([[place <= len(row.rejected) for place in range(most)] for row in drawn])
        pictures = torch.stack([tensor_of(each) for row in drawn for each in (row.accepted, *row.rejected)])
        levels_B = torch.randint(self.num_levels, (len(drawn),), generator=generator)
        noise_B = torch.randn(len(drawn), *pictures.shape[1:], generator=generator)
        owner = torch.arange(len(drawn)).repeat_interleave(present_BC.sum(1))
        words = self.read([row.task for row in drawn])[owner]
        inputs = Noised(pictures, noise_B[owner], levels_B[owner], words)
        with torch.no_grad(), self.unet.disable_adapter():
            reference_BC = spread(self.log_probabilities(inputs), present_BC)
        policy_BC = spread(self.log_probabilities(inputs), present_BC)
        return PreferenceBatch(policy_BC, reference_BC, present_BC.float(), present_BC, training=True)

    @property
    def num_levels(self) -> int:
        """T, the noise levels."""
        return int(self.scheduler.config["num_train_timesteps"])

    def log_probabilities(self, inputs: Noised) -> Tensor:
        """The estimate -T/2 ||target - prediction||^2 of each picture (N,), in nats up to a constant."""
        noised = self.scheduler.add_noise(inputs.pictures, inputs.noise, inputs.levels)
        found = predicted(self.unet, noised, inputs.levels, inputs.words)
        target = target_of(self.scheduler, inputs.pictures, inputs.noise, inputs.levels)
        return -self.num_levels / 2 * (target - found).square().flatten(1).sum(1)

    def save(self, folder: Path) -> None:
        """The LoRA and the version."""
        tensors = get_peft_model_state_dict(self.unet)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / LORA)
        (folder / STATE).write_text(json.dumps({"version": self.version}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Take up a LoRA: the next picture is drawn with it."""
        found = set_peft_model_state_dict(self.unet, load_file(folder / LORA))
        if found.unexpected_keys:
            raise UserError(f"The LoRA in {folder} is of another model: it has {found.unexpected_keys[0]}.")
        self.version = int(json.loads((folder / STATE).read_text(encoding="utf-8"))["version"])


@dataclass(frozen=True)
class Noised:
    """Pictures (N, C, H, W) in [-1, 1] with their noise, its level (N,), and the words of their requests (N, L, D)."""

    pictures: Tensor
    noise: Tensor
    levels: Tensor
    words: Tensor


def diffusers() -> Any:
    """The library, which is an extra."""
    try:
        import diffusers as library
    except ImportError:
        raise UserError(
            f"The diffusion learner needs the extra '{EXTRA}'. Install it: pip install 'expertsmith[{EXTRA}]'."
        ) from None
    return library


def predicted(unet: Any, noised_NCHW: Tensor, levels: Tensor, words_NLD: Tensor) -> Tensor:
    """What a U-Net predicts (N, C, H, W); one that takes class vectors gets the sum of the words there as well."""
    labels = words_NLD.sum(1) if unet.config["class_embed_type"] == "projection" else None
    found_NCHW: Tensor = unet(noised_NCHW, levels, words_NLD, class_labels=labels).sample
    return found_NCHW


def target_of(scheduler: Any, pictures: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """What the U-Net of a scheduler should predict: the noise, or the velocity."""
    if scheduler.config["prediction_type"] != "v_prediction":
        return noise
    velocity: Tensor = scheduler.get_velocity(pictures, noise, levels)
    return velocity


def spread(values: Tensor, present_BC: Tensor) -> Tensor:
    """Values of the present candidates (N,) in their places (B, C); 0 elsewhere."""
    return torch.zeros(present_BC.shape, dtype=values.dtype).masked_scatter(present_BC, values)


def tensor_of(picture: Picture) -> Tensor:
    """A picture as (C, H, W) in [-1, 1]."""
    return torch.from_numpy(picture.pixels).permute(2, 0, 1).float() * 2 - 1


def words_BLD(texts: Sequence[str], length: int, size: int) -> Tensor:
    """The last `length` words of each text as vectors of one length that are fixed by their letters (B, L, D): for a
    handful of words, what a text encoder is for a language. Missing ones are zero."""
    found = torch.zeros(len(texts), length, size)
    for row, text in enumerate(texts):
        for place, word in enumerate(re.findall(r"[a-z]+", text.lower())[-length:]):
            generator = torch.Generator().manual_seed(seed_of(word))
            found[row, place] = nn.functional.normalize(torch.randn(size, generator=generator), dim=0) * size**0.5
    return found


def seed_of(name: str) -> int:
    """A number that a name decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
