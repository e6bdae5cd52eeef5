"""A small domain of function calls over the fake foundation."""

from __future__ import annotations

from pathlib import Path

from domains.domain import Domain
from experts.build import Build
from tests.fakes import TOPICS, tiny_recipe, turns, write_base, write_jsonl

FIND = {
    "name": "find",
    "description": "Find a thing.",
    "parameters": {
        "type": "object",
        "properties": {"thing": {"type": "string"}, "rooms": {"type": "integer", "default": 1}},
        "required": ["thing"],
    },
}
WASH = {**FIND, "name": "wash", "description": "Wash a thing."}


def write_tools_domain(folder: Path, with_preferences: bool = True) -> Path:
    """20 rows with a call, 20 without, and 20 pairs."""
    folder.mkdir(parents=True)
    settings = ['name = "kit"', 'title = "Kit"', 'about = "Calls."', 'licence = "CC0-1.0"', 'system_prompt = ""']
    (folder / "domain.toml").write_text("\n".join([*settings, 'tracks = ["calls"]']) + "\n")
    write_jsonl(folder / "functions.jsonl", [FIND, WASH])
    both = ["find", "wash"]
    calls = [
        {"id": f"k{i}", "kind": "multiple", "functions": both, "prompt": f"Where is the {t}?",
         "calls": [{"name": "find", "arguments": {"thing": t}}]}
        for i, t in enumerate(TOPICS)
    ]  # fmt: skip
    plain = [
        {"id": f"n{i}", "kind": "irrelevance", "functions": ["wash"], "prompt": f"Sing of a {t}.", "answer": "No."}
        for i, t in enumerate(TOPICS)
    ]
    write_jsonl(folder / "calls.jsonl", [*calls, *plain])
    if with_preferences:
        right = '<tool_call>[{"name": "find", "arguments": {"thing": "%s"}}]</tool_call>'
        pairs = [
            {"id": f"p{i}", "functions": both, "prompt": turns(f"Find my {t}."), "chosen": right % t,
             "rejected": ["No.", right % "hat"], "rejected_kinds": ["no_call", "wrong_value"]}
            for i, t in enumerate(TOPICS)
        ]  # fmt: skip
        write_jsonl(folder / "preferences.jsonl", pairs)
    routing = [{"id": f"r{i}", "text": f"Where is the {t}?", "label": "kit/calls"} for i, t in enumerate(TOPICS)]
    routing += [{"id": f"g{i}", "text": f"Sing of a {t}.", "label": "general"} for i, t in enumerate(TOPICS)]
    write_jsonl(folder / "routing.jsonl", routing)
    return folder


def tiny_tools_build(folder: Path, *overrides: str) -> Build:
    """A build of it, all in one folder."""
    base, domain = folder / "base", folder / "kit"
    if not base.exists():
        write_base(base)
        write_tools_domain(domain)
    small = [f"{stage}.{key}={value}" for stage in ("calls", "calls_align") for key, value in SMALL.items()]
    return Build(Domain.load(domain), tiny_recipe(base, *small, *overrides), folder / "home")


SMALL = {"rank": 2, "epochs": 1, "row_tokens": 1024, "max_examples": 4, "learning_rate": 0.02}
