"""What `bench objectives` trains and measures: the shipped domains over the embedded model, or a recipe's model on a
file of preference rows, in the order of the DDO-RM paper (arXiv 2604.11119): SFT on the chosen answers, a reward model
on the same pairs, then every objective from the same start."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Preference, Split
from domains.readers import parse_preference, read_jsonl
from domains.splits import split_of
from experts import house
from experts.checkpoint import CONFIG, Checkpoint, load_tokenizer
from experts.device import probe
from experts.digests import digest_of
from experts.embedded import foundation_folder
from experts.foundation import base_folder
from experts.recipe import Align, Recipe
from experts.recommend import as_examples
from experts.stages import reward, sft

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
SHIPPED_ROWS = {"train": 10, "dev": 5, "test": 12}  # of each domain: on a CPU the bench would be hours otherwise
SHIPPED_RATES = (1e-4, 4e-4)
SHIPPED_ALIGN = Align(epochs=1, accumulation=1, batch_rows=4, row_tokens=512)
TAGS = (  # the paper's prompt, for a model without a chat template
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass(frozen=True)
class Setting:
    """Rows with rewards by split, the model that all objectives start from, how they train, and the rates to choose
    from; `name` is the result's file name."""

    name: str
    rows: Mapping[Split, Sequence[Preference]]
    start: Checkpoint
    align: Align
    rates: tuple[float, ...]

    @cached_property
    def digest(self) -> str:
        """The digest of the rows, the start, how it trains, and the number format."""
        rows = [repr(row) for split in SPLITS for row in self.rows[split]]
        return digest_of([self.start.digest(), self.align.model_dump_json(), str(probe().dtype), *rows])

    def smaller(self) -> Setting:
        """A few rows and one rate, to see that it works."""
        rows = {split: found[:3] for split, found in self.rows.items()}
        return replace(self, name=f"{self.name}-quick", rows=rows, rates=self.rates[:1])


def shipped(folder: Path) -> Setting:
    """Both shipped domains; DDO-RM gets +1 for the chosen and -1 for the rejected answers as rewards, which is what a
    perfect reward model would say."""
    house.use_shipped(folder / "house")
    rows = {split: shipped_rows(split) for split in SPLITS}
    return Setting("objectives", rows, Checkpoint(foundation_folder(), folder / "house"), SHIPPED_ALIGN, SHIPPED_RATES)


def shipped_rows(split: Split) -> list[Preference]:
    """Rows of both domains, with rewards that say which answer is better."""
    limit = SHIPPED_ROWS[split]
    rows = [row for name in ("mortgage", "caregiving") for row in Domain.load(name).preferences(split)[:limit]]
    return [replace(row, scores=(1.0, *(-1.0 for _ in row.rejected))) for row in rows]


def of_recipe(recipe: Recipe, data: Path, folder: Path) -> Setting:
    """The base model of a recipe on the preference rows of a file, split by a hash of their ids. The start and the
    reward model are trained once and kept in `folder`."""
    rows = rows_of(data)
    base = with_template(base_folder(recipe.foundation), folder)
    made_of = [Checkpoint(base).digest(), str(probe().dtype), recipe.seed, *(repr(row) for row in rows["train"])]
    trained = folder / f"sft-{digest_of([*made_of, recipe.sft.model_dump_json()])[:12]}"
    if not (trained / CONFIG).exists():
        sft.run(Checkpoint(base), as_examples(rows["train"]), recipe.sft, recipe.seed, trained)
    start = Checkpoint(base, trained)
    if recipe.align.rewards == "reward_model":
        own = folder / f"reward-{digest_of([trained.name, recipe.reward_model.model_dump_json()])[:12]}"
        rows = {split: rewarded(start, recipe, rows["train"], rows[split], own) for split in rows}
    rates = (recipe.align.learning_rate / 4, recipe.align.learning_rate)  # the paper's DPO had a fourth of DDO-RM's
    return Setting(f"objectives-{data.stem}", rows, start, recipe.align, rates)


def rows_of(data: Path) -> dict[Split, Sequence[Preference]]:
    """Preference rows of a file by split."""
    reading = read_jsonl(data, parse_preference)
    if reading.problems:
        first = reading.problems[0]
        raise UserError(
            f"{data.name}, line {first.line}: {first.reason}. {first.fix} 'expertsmith validate {data.name}' shows all."
        )
    found: dict[Split, Sequence[Preference]] = {
        split: [row for row in reading.records if split_of(row.id) == split] for split in SPLITS
    }
    if not all(found.values()):
        raise UserError(f"{data.name} has {len(reading.records)} rows; some for each split are needed. Give more rows.")
    return found


def rewarded(
    start: Checkpoint, recipe: Recipe, train: Sequence[Preference], rows: Sequence[Preference], folder: Path
) -> list[Preference]:
    """Rows with the rewards of a model that was trained on the training rows."""
    if not (folder / CONFIG).exists():
        reward.run(start, train, recipe.reward_model, recipe.seed, folder)
    found = reward.rewards(start, folder, rows)
    return [replace(row, scores=found[row.id]) for row in rows]


def with_template(base: Path, folder: Path) -> Path:
    """The base model, with the paper's tags as its template if it has none."""
    tokenizer = load_tokenizer(base)
    if tokenizer.chat_template:
        return base
    target = folder / "base"
    shutil.copytree(base, target, copy_function=link, dirs_exist_ok=True)
    tokenizer.chat_template = TAGS
    tokenizer.save_pretrained(target)
    return target


def link(source: str, target: str) -> None:
    """Weights are linked, small files copied: the tokenizer's are written anew."""
    if source.endswith(".safetensors"):
        Path(target).unlink(missing_ok=True)
        Path(target).symlink_to(Path(source).resolve())
    else:
        shutil.copy(source, target)
