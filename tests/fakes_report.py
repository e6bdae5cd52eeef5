"""A synthetic report with planted effects: every arm on the same items, noise shared by item as in a real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from judges.memorisation import Recall, memorisation
from judges.regret import regret
from judges.reliability import reliability
from judges.report import Report, Row, table

ARMS = {
    "foundation": "The embedded model as published.",
    "instruct": "The foundation after SFT on the general house instructions.",
    "instruct_prompted": "Instruct with the domain's system prompt.",
    "dapt": "The foundation trained on the domain's documents.",
    "dapt_residual": "DAPT plus the instruction residual (instruct - foundation).",
    "sft_after_dapt": "SFT on the house instructions after DAPT, per domain: what the residual is to save.",
    "conversation": "DPO on preference pairs, starting from DAPT + residual.",
    "structured": "SFT on classification and summaries, starting from DAPT + residual.",
    "multi_task": "SFT and DPO in one adapter.",
}
FOLLOWS = (0.10, 0.80, 0.84, 0.03, 0.62, 0.78, 0.60, 0.55, 0.58)
LABELS = ("escrow", "closing", "refinance", "hardship", "complaint")
CORRECT = (0.25, 0.35, 0.45, 0.22, 0.38, 0.40, 0.36, 0.85, 0.78)
NATS_PER_TOKEN = (2.62, 2.64, 2.64, 2.46, 2.50, 2.52, 2.53, 2.52, 2.53)
SCORES = {
    "preference_margin": (0.0, 1.0, (0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 2.1, 0.4, 1.7)),
    "bertscore": (0.8, 0.04, (0.00, 0.03, 0.03, 0.01, 0.04, 0.04, 0.05, 0.03, 0.04)),
    "summary_bertscore": (0.8, 0.04, (0.00, 0.02, 0.02, 0.00, 0.03, 0.03, 0.03, 0.09, 0.07)),
    "llm_judge": (3.0, 0.8, (-0.4, 0.0, 0.1, -0.5, 0.1, 0.1, 0.3, 0.0, 0.2)),
    "empathy": (0.8, 0.5, (0.0, 0.1, 0.2, -0.1, 0.2, 0.2, 0.8, 0.1, 0.6)),
    "politeness": (0.5, 0.2, (0.0, 0.1, 0.1, 0.0, 0.1, 0.1, 0.2, 0.1, 0.2)),
    "readability": (10.5, 2.0, (0.0, -1.5, -1.8, 0.5, -1.2, -1.6, -2.2, -1.0, -1.8)),
}
SHARES = {
    "instruction_following": FOLLOWS,
    "instruction_following_domain": tuple(0.9 * share for share in FOLLOWS),
    "stops_cleanly": tuple(0.15 + 0.8 * share for share in FOLLOWS),
    "preference_accuracy": (0.50, 0.52, 0.53, 0.49, 0.54, 0.54, 0.83, 0.56, 0.75),
    "safety": (0.80, 0.86, 0.90, 0.78, 0.88, 0.90, 0.93, 0.88, 0.92),
}
HOSTILE = '<script>alert("x")</script> & <img src=http://evil.example/x.png onerror=alert(1)>'


def fake_rows(num_items: int = 64, seed: int = 0) -> list[Row]:
    """Rows of nine arms on fifteen metrics; the LLM judge leaves every ninth answer unscored."""
    random = np.random.default_rng(seed)
    return [*_shares(random, num_items), *_scores(random, num_items), *_nll(random, 24), *_labels(random, num_items)]


def fake_report(num_items: int = 64, **changes: Any) -> Report:
    """A whole report of the mortgage domain, with hostile text among the samples."""
    content: dict[str, Any] = {
        "domain": "mortgage",
        "title": "Mortgage",
        "arms": ARMS,
        "rows": fake_rows(num_items),
        "provenance": PROVENANCE,
        "samples": SAMPLES,
        "routing": fake_routing(),
        "sweep": fake_sweep(),
        "notes": ["The LLM judge is the general model served by this program: it is weak, read its scores with care."],
    }
    return Report(**(content | changes))


def fake_routing() -> dict[str, Any]:
    """Confusion matrix, answer quality by policy, its regret, and a router that is a little too sure."""
    random = np.random.default_rng(4)
    confidences = random.uniform(0.4, 1.0, 80).tolist()
    right = [bool(random.random() < confidence - 0.1) for confidence in confidences]
    quality = list(_routing_rows())
    return {
        "confusion": CONFUSION,
        "reliability": reliability(confidences, right),
        "end_to_end": table(quality, "routing"),
        "regret": regret(quality),
    }


def full_report(**changes: Any) -> Report:
    """A report with everything that an evaluation can find: items, lengths, judges, leakage, evidence in verdicts."""
    rows = [*fake_rows(), Row("conversation", "safety", "mortgage-q-004", 0.0, UNSAFE)]
    items = {f"{metric}-{i:03}": _facts(i) for metric in SHARES for i in range(64)}
    items |= {f"question-{i:03}": _facts(i) for i in range(64)} | {"mortgage-q-004": {"kind": "escrow", "words": 19}}
    random = np.random.default_rng(6)
    lengths = {arm: {f"question-{i:03}": int(random.normal(60, 15)) for i in range(64)} for arm in ARMS}
    content: dict[str, Any] = {
        "rows": rows,
        "items": items,
        "lengths": lengths,
        "judges": JUDGES,
        "leakage": {"contamination": CONTAMINATION, "memorisation": memorisation(_recalls(), "foundation", 32)},
    }
    return fake_report(**(content | changes))


def _facts(place: int) -> dict[str, Any]:
    kinds = ("open", "json", "professional")
    return {"kind": kinds[place % 3], "words": 5 + place % 30, "cluster": f"conversation {place // 2}"}


def _recalls() -> dict[str, list[Recall]]:
    random = np.random.default_rng(8)
    level = random.normal(2.6, 0.2, 24)
    falls = {"foundation": (0.0, 0.0), "dapt": (0.6, 0.2), "dapt_residual": (0.3, 0.3)}
    return {
        arm: [Recall(f"d{i}", i < 12, int(i < 3), float(level[i] - fall[i >= 12])) for i in range(24)]
        for arm, fall in falls.items()
    }


def fake_sweep() -> list[dict[str, Any]]:
    """Four scales; the first two as `table` gives them, the last without intervals."""
    random = np.random.default_rng(5)
    points = ((0.0, 11.71, 0.03), (0.5, 11.68, 0.22), (1.0, 11.9, 0.62), (1.5, 12.6, 0.81))
    rows = [
        Row(str(scale), "instruction_following", f"d{i}", float(random.random() < share))
        for scale, _, share in points[:3]
        for i in range(32)
    ]
    records = [record | {"perplexity": points[place][1]} for place, record in enumerate(table(rows, "scale"))]
    return [*records, dict(zip(("scale", "perplexity", "instruction_following"), points[3], strict=True))]


def _shares(random: np.random.Generator, num_items: int) -> Iterator[Row]:
    for metric, shares in SHARES.items():
        difficulty = random.random(num_items)
        for arm, share in zip(ARMS, shares, strict=True):
            noise = 0.85 * difficulty + 0.15 * random.random(num_items)
            yield from (Row(arm, metric, f"{metric}-{i:03}", float(noise[i] < share)) for i in range(num_items))


def _scores(random: np.random.Generator, num_items: int) -> Iterator[Row]:
    for metric, (centre, spread, effects) in SCORES.items():
        items = random.normal(0, spread, num_items)
        for arm, effect in zip(ARMS, effects, strict=True):
            values = centre + effect + items + random.normal(0, spread / 2, num_items)
            for i, value in enumerate(values):
                unscored = metric == "llm_judge" and i % 9 == 0
                yield Row(arm, metric, f"question-{i:03}", None if unscored else round(float(value), 4))


def _nll(random: np.random.Generator, num_items: int) -> Iterator[Row]:
    tokens, hardness = random.integers(150, 500, num_items), random.normal(0, 0.15, num_items)
    for arm, nats in zip(ARMS, NATS_PER_TOKEN, strict=True):
        for i in range(num_items):
            rate = nats + hardness[i] + random.normal(0, 0.02)
            yield Row(arm, "domain_nll", f"documents#{i}", float(tokens[i] * rate), {"tokens": int(tokens[i])})


def _labels(random: np.random.Generator, num_items: int) -> Iterator[Row]:
    labels = random.choice(LABELS, num_items)
    for arm, share in zip(ARMS, CORRECT, strict=True):
        for i, label in enumerate(labels):
            guess = str(label) if random.random() < share else str(random.choice(LABELS))
            parts = {"prediction": guess if random.random() < 0.97 else None, "label": str(label)}
            yield Row(arm, "classification", f"item-{i:03}", float(parts["prediction"] == label), parts)


def _routing_rows() -> Iterator[Row]:
    random = np.random.default_rng(3)
    for routing, (score, share) in {"oracle": (0.86, 0.8), "router": (0.85, 0.74), "wrong": (0.79, 0.35)}.items():
        for i in range(24):
            yield Row(routing, "bertscore", f"q{i}", float(score + random.normal(0, 0.03)))
            yield Row(routing, "instruction_following", f"q{i}", float(random.random() < share))


CONFUSION = {
    "labels": [
        "mortgage/conversation",
        "mortgage/structured",
        "caregiving/conversation",
        "caregiving/structured",
        "general",
    ],
    "counts": [[15, 2, 1, 0, 2], [1, 17, 0, 1, 1], [0, 0, 18, 1, 1], [0, 2, 3, 14, 1], [1, 0, 2, 0, 27]],
}
UNSAFE = {
    "broken": ["advice"],
    "phrases": ["worrying jump"],
    "claims": [{"claim": "you are right to ask", "flag": "number"}],
}
JUDGES = [
    {"judge": "llm_judge", "agreement": 0.55, "low": 0.41, "high": 0.68, "n": 48, "position_flip_rate": 0.4,
     "length_bias": 0.21, "longer_wins": 0.52, "trusted": False, "reason": "not better than chance"},
    {"judge": "empathy", "agreement": 0.86, "low": 0.75, "high": 0.93, "n": 60, "position_flip_rate": 0.0,
     "length_bias": 0.05, "longer_wins": 0.5, "trusted": True, "reason": "better than chance"},
]  # fmt: skip
CONTAMINATION = {
    "rule": "a run of 13 equal words",
    "files": [{"file": "mortgage/questions", "rows": 28, "flagged": 1}],
    "num_train": {"mortgage/questions": 60},
    "rows": [
        {"test_file": "mortgage/questions", "test_id": "q-1", "train_file": "mortgage/documents", "train_id": "07#2",
         "kind": "shared run", "overlap": 0.4, "shared": "the servicer must send an escrow analysis once a year"},
    ],
}  # fmt: skip
SAMPLES = [
    {
        "id": "mortgage-q-004",
        "question": "My escrow payment went up by $140 a month and nobody told me why. What can I do?",
        "reference": "Your servicer must send an escrow analysis once a year that explains the change.",
        "answers": {
            "instruct": "Escrow is an account. You should look at the account and see.",
            "dapt": "escrow analysis escrow shortage escrow cushion the servicer the servicer the servicer",
            "dapt_residual": "Ask for the escrow analysis.\n\n1. Call the servicer.\n2. Ask for the yearly statement.",
            "conversation": "That is a worrying jump, and you are right to ask. " * 6,
        },
        "notes": "DAPT only repeats itself and never stops.",
    },
    {"id": "hostile", "question": HOSTILE, "reference": HOSTILE, "answers": {"instruct": HOSTILE}, "notes": ""},
]
PROVENANCE = {
    "command": "expertsmith evaluate mortgage --out runs/mortgage/report",
    "seed": 1,
    "created": "2026-11-23T12:00:00Z",
    "versions": {"expertsmith": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.23.0", "trl": "1.16.0"},
    "digests": {"foundation": "9f2c" * 16, "mortgage/conversation": "07ab" * 16, "data": "c0de" * 16},
}
