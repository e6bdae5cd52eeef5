"""One export in a process of its own, so that its memory is its own: it loads, answers what is asked, and ends.

Input is one JSON object a line: {"prompts": [[token, ...], ...], "max_tokens", "timed"}. Output is, too: first
{"load_seconds"}, then {"answers": [[token, ...], ...]} or, timed, {"first_seconds", "tokens_per_second", "num_tokens"},
and after the last one {"peak_mib"}. Run: `python -m router.benches._edge_child KIND PATH`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from experts.benches._process import own_high_water

CONTEXT = 4096


class Runner(Protocol):
    """A loaded model that decodes greedily."""

    def tokens(self, prompt: list[int], max_tokens: int) -> Iterator[int]:
        """The tokens of an answer, one by one, without the one that ends it."""
        ...


class TorchRunner:
    """A folder of safetensors in the number format of this machine, or one whose linear layers are int8 (`_int8`)."""

    def __init__(self, path: Path, int8: bool) -> None:
        from experts.checkpoint import load_base, load_tokenizer
        from experts.device import probe
        from router.benches._int8 import load_int8

        self.model: Any = load_int8(path) if int8 else load_base(path, probe().dtype, probe().score_attention).eval()
        self.end = load_tokenizer(path).eos_token_id

    def tokens(self, prompt: list[int], max_tokens: int) -> Iterator[int]:
        """One token a step, with the keys and values of those before kept."""
        import torch
        from transformers import DynamicCache

        cache, ids = DynamicCache(), torch.tensor([prompt])
        with torch.inference_mode():
            for _ in range(max_tokens):
                output = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                token = int(output.logits[0, -1].argmax())
                if token == self.end:
                    return
                yield token
                ids = torch.tensor([[token]])


class LlamaRunner:
    """A GGUF file in llama.cpp."""

    def __init__(self, path: Path) -> None:
        from llama_cpp import Llama

        threads = len(os.sched_getaffinity(0))
        self.model = Llama(str(path), n_ctx=CONTEXT, n_threads=threads, n_threads_batch=threads, verbose=False)

    def tokens(self, prompt: list[int], max_tokens: int) -> Iterator[int]:
        """Greedy tokens."""
        self.model.reset()
        end = self.model.token_eos()
        for count, token in enumerate(self.model.generate(prompt, temp=0.0, repeat_penalty=1.0, reset=True)):
            if token == end or count == max_tokens:
                return
            yield token


def answer(runner: Runner, prompt: list[int], max_tokens: int) -> list[int]:
    """A whole answer; nothing to a prompt that does not fit."""
    return list(runner.tokens(prompt, max_tokens)) if len(prompt) + max_tokens <= CONTEXT else []


def timed(runner: Runner, prompt: list[int], max_tokens: int) -> dict[str, Any]:
    """Seconds to the first token, and tokens a second after it."""
    start = time.perf_counter()
    times = [time.perf_counter() - start for _ in runner.tokens(prompt, max_tokens)]
    rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None
    return {"first_seconds": times[0] if times else None, "tokens_per_second": rate, "num_tokens": len(times)}


def tell(**values: Any) -> None:
    """One line of output."""
    print(json.dumps(values), flush=True)


def runner_of(kind: str, path: Path) -> Runner:
    """What runs an export of a kind."""
    return LlamaRunner(path) if kind == "gguf" else TorchRunner(path, kind == "int8")


def main(kind: str, path: Path) -> None:
    """Load, answer, end."""
    start = time.perf_counter()
    runner = runner_of(kind, path)
    tell(load_seconds=time.perf_counter() - start)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["timed"]:
            tell(**timed(runner, asked["prompts"][0], asked["max_tokens"]))
        else:
            tell(answers=[answer(runner, prompt, asked["max_tokens"]) for prompt in asked["prompts"]])
    tell(peak_mib=own_high_water() / 2**20)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
