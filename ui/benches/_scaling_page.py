"""`docs/scaling.md` from the numbers of `bench scaling`: `python -m ui.benches._scaling_page NUMBERS.json PAGE.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ui.benches._paper import (
    BANDWIDTH_SHARE,
    LLAMA_8B,
    MACHINES,
    UTILISATION,
    Machine,
    adapter_bytes,
    decode_seconds,
    most_users,
    packed_share,
    train_seconds,
    training_bytes,
)

Numbers = Mapping[str, Any]
ROOM = 0.9  # of an accelerator's memory; the rest is for kernels and fragments
ACTIVATIONS = 10e9
CONTEXT = 2048
DAPT_TOKENS, SFT_TOKENS, PAIRS, PROMPT, ANSWER = 1e9, 50e6, 100_000, 300, 200
DISK = 2e9
MEANING = {
    "training tokens": "LoRA of rank 16, forward and backward, one row",
    "candidates": "A prompt of 120 words with all its answers of 48 words, the prompt computed once",
    "experts": "One token of 8 answers by so many adapters in the same batch",
    "domains": "One request routed by the nearest of 30 examples a domain",
    "users": "One token of each of so many answers, 128 tokens before it",
    "documents": "Read, cleaned, personal data replaced, written; one process",
    "residual": "Three models of this size in, one out, bf16",
}


def page(found: Numbers) -> str:
    """The page in Markdown."""
    machine, quick = found["machine"], " --quick" if found["quick"] else ""
    parts = [
        "# Scaling: what is measured, and what it means for larger models",
        f"Measured on a machine with {machine['cores']} CPU cores ({machine['threads']} in use, {machine['dtype']}) "
        f"with the embedded model of {machine['weights'] / 1e6:.0f} million weights; seconds are processor time of one "
        "core, because other work ran beside. No accelerator took part: everything about H100 below is arithmetic from "
        "the stated assumptions; `expertsmith bench device` measures training where there is one.",
        f"```\nOMP_NUM_THREADS=1 expertsmith bench scaling{quick} --json > docs/scaling.json\n"
        "python -m ui.benches._scaling_page docs/scaling.json docs/scaling.md\n```",
        "## Measured",
        "Each cost is fitted by least squares as `seconds = fixed + per unit x amount`; r2 is the share of the "
        "variance that the line explains. Points are medians; runs of each after one that warms up: "
        f"{found['repeats']}.",
        measured(found),
        *(section(found, fit) for fit in found["fits"]),
        *on_paper(found),
    ]
    return "\n\n".join(parts) + "\n"


def measured(found: Numbers) -> str:
    """The fits as a table."""
    units = {row["curve"]: row["unit"] for row in found["rows"]}
    lines = [
        [fit["curve"], units[fit["curve"]], number(fit["fixed"]), number(fit["per_unit"]), f"{fit['r2']:.3f}"]
        for fit in found["fits"]
    ]
    return table(["cost of", "unit", "fixed, s", "per unit, s", "r2"], lines)


def section(found: Numbers, fit: Numbers) -> str:
    """A curve's points beside its line."""
    rows = [row for row in found["rows"] if row["curve"] == fit["curve"]]
    more = [key for key in rows[0] if key not in {"curve", "unit", "amount", "seconds"}]
    lines = [
        [
            f"{row['amount']}",
            number(row["seconds"]),
            number(fit["fixed"] + fit["per_unit"] * row["amount"]),
            *(number(row[key]) for key in more),
        ]
        for row in rows
    ]
    heads = [rows[0]["unit"], "seconds", "by the line", *(key.replace("_", " ") for key in more)]
    return f"### {fit['curve'].capitalize()}\n\n{MEANING[fit['curve']]}.\n\n{table(heads, lines)}"


def on_paper(found: Numbers) -> list[str]:
    """What the measurements and the assumptions give for 8B."""
    fits = {fit["curve"]: fit for fit in found["fits"]}
    return [
        f"## {LLAMA_8B.name} on paper",
        "### Training",
        training_table(),
        "DAPT of 1 billion tokens, SFT of 50 million, and 100,000 preference rows with a prompt of 300 tokens and "
        "answers of 200. `fits` counts weights, gradients and AdamW's moments and leaves 10 GB for activations "
        "(recomputed).",
        candidates_words(),
        "### Serving",
        serving_table(),
        f"Answers at once with {CONTEXT} tokens each, 32 experts of rank 16 "
        f"({adapter_bytes(LLAMA_8B, 16) / 1e6:.0f} MB each) beside one copy of the base. A server with paged keys and "
        "values (vLLM) is assumed. By the line measured here at 135M, a batch of 8 with 8 experts takes "
        f"{line(fits['experts'], 8) / line(fits['experts'], 1):.2f} times as long as with one.",
        "### Routing, documents, residual",
        other_words(found, fits),
        "## Assumptions",
        assumptions(),
    ]


def training_table() -> str:
    """Hours by machine and method."""
    lines = []
    for method in ("lora, recomputed", "full, recomputed"):
        for machine in MACHINES:
            held = training_bytes(LLAMA_8B, method, machine)
            fits = held + ACTIVATIONS <= ROOM * machine.memory
            lines.append(
                [method, machine.name, f"{held / 1e9:.0f} GB", "yes" if fits else "no", *hours(method, machine)]
            )
    return table(
        ["method", "machine", "held by each", "fits", "DAPT, h", "SFT, h", "DPO, h", "S-DPO, 3 rejected, h"], lines
    )


def hours(method: str, machine: Machine) -> list[str]:
    """Hours of each stage; preference training adds a forward pass of the reference."""
    found = [train_seconds(LLAMA_8B, tokens, method, machine) for tokens in (DAPT_TOKENS, SFT_TOKENS)]
    for candidates in (2, 4):
        tokens = PAIRS * (PROMPT + candidates * ANSWER)
        found.append(
            train_seconds(LLAMA_8B, tokens, method, machine) + train_seconds(LLAMA_8B, tokens, "forward", machine)
        )
    return [number(seconds / 3600) for seconds in found]


def candidates_words() -> str:
    """What the shared prompt saves."""
    shares = ", ".join(f"{packed_share(PROMPT, ANSWER, count):.0%} with {count}" for count in (2, 4, 8))
    return (
        f"The prompt is computed once for all its answers: of the tokens with a row for each answer that leaves "
        f"{shares} answers, on any machine."
    )


def serving_table() -> str:
    """Users and rates by machine."""
    lines = []
    for machine in MACHINES[:2]:
        users = most_users(LLAMA_8B, CONTEXT, machine, 32)
        alone, full = (decode_seconds(LLAMA_8B, count, CONTEXT, machine) for count in (1, users))
        lines.append([machine.name, *(number(each) for each in (users, 1 / alone, 1 / full, users / full))])
    one = MACHINES[0]
    users = most_users(LLAMA_8B, CONTEXT, one, 32)
    rate = users / decode_seconds(LLAMA_8B, users, CONTEXT, one)
    lines.append(["64 replicas of 1 x H100", number(64 * users), "as one", "as one", number(64 * rate)])
    return table(
        ["machine", "answers at once", "tokens/s of one alone", "tokens/s of each when full", "tokens/s in all"], lines
    )


def other_words(found: Numbers, fits: Mapping[str, Numbers]) -> str:
    """Parts whose cost does not depend on the model, and the merge."""
    documents = [row for row in found["rows"] if row["curve"] == "documents"]
    per_file = documents[-1]["megabytes"] / documents[-1]["amount"]
    rate = per_file / fits["documents"]["per_unit"]
    merged = 1 / fits["residual"]["per_unit"]
    size = 2 * LLAMA_8B.weights
    lines = [
        f"Routing depends on the encoder, not on the experts: {1000 * line(fits['domains'], 100):.1f} ms a request "
        f"with 100 domains on this CPU, {1e6 * fits['domains']['per_unit']:.1f} microseconds for each further domain.",
        f"Documents: {rate:.2f} MB/s on one core here, everything together. If all of it divided over cores, 1 TB "
        f"would take {1e6 / rate / 3600 / 64:.0f} hours on 64 of them (`--engine ray`); it takes longer, since only "
        "reading and cleaning do: joining (duplicates, sections, documents) is one process that parses every block. "
        "How long that part takes was not measured apart.",
        f"Residual: {merged:.0f} MB of model a second here, {size / 1e6 / merged / 60:.1f} minutes for {LLAMA_8B.name} "
        f"in bf16 ({size / 1e9:.0f} GB), in constant memory; three times as much is read as is written, so a disk of "
        f"{DISK / 1e9:.0f} GB/s would take at least {4 * size / DISK / 60:.1f} minutes. It needs no accelerator.",
    ]
    return "\n".join(f"* {each}" for each in lines)


def assumptions() -> str:
    """What everything above rests on."""
    lines = [
        "Operations a token: 2 N forward and 4 N backward (Kaplan et al. 2020, arXiv 2001.08361), so 6 N of full "
        "training and 8 N with activations recomputed; LoRA needs no gradients of frozen weights: 4 N, and 6 N "
        "recomputed. "
        "Attention's own operations are left out (below 5% at 2,048 tokens and 8B).",
        f"H100 SXM: 989 TFLOP/s dense bf16, 3.35 TB/s, 80 GB. {UTILISATION:.0%} of the peak in training, "
        f"{BANDWIDTH_SHARE:.0%} of the bandwidth in decoding. Several accelerators together keep "
        + ", ".join(f"{m.together:.0%} ({m.name})" for m in MACHINES if m.count > 1)
        + " of that; with LoRA every accelerator holds the whole base.",
        "Full training holds 16 bytes a weight (ZeRO, arXiv 1910.02054), divided over all (ZeRO-3, FSDP2).",
        "Decoding reads the weights and all keys and values once a token (arXiv 2211.05102): "
        f"{LLAMA_8B.kv_bytes / 1e3:.0f} kB of keys and values a token for {LLAMA_8B.name}; 90% of the memory is used.",
        "The 135M model's CPU seconds say how costs grow, not how fast an accelerator is: only slopes and ratios are "
        "carried over.",
        "Data loading, checkpoints, evaluation during training and failures are left out.",
    ]
    return "\n".join(f"* {each}" for each in lines)


def line(fit: Numbers, amount: float) -> float:
    """Seconds by the fitted line."""
    return float(fit["fixed"] + fit["per_unit"] * amount)


def number(value: float) -> str:
    """Three digits that count."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}" if size >= 1e-4 or not size else f"{value:.1e}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))


if __name__ == "__main__":
    numbers = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(page(numbers), encoding="utf-8")
