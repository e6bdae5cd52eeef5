"""A scripted OpenAI-compatible endpoint on a local port, and textstat without its removed dependency."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

Body = dict[str, Any]


@dataclass
class ScriptedEndpoint:
    """`script` answers a request's body with (status, reply body) or (status, reply body, headers); all bodies are kept
    in `requests`."""

    url: str
    requests: list[Body] = field(default_factory=list)


def said(text: str, top_logprobs: dict[str, float] | None = None) -> tuple[int, Body]:
    """A chat completion with a text and, if given, the candidates of its first token."""
    candidates = [{"token": t, "logprob": p, "bytes": None} for t, p in (top_logprobs or {}).items()]
    first = {"token": text, "logprob": 0.0, "bytes": None, "top_logprobs": candidates}
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": [first]} if top_logprobs else None,
    }
    return 200, {"id": "x", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice]}


def failed(status: int, message: str, param: str | None = None) -> tuple[int, Body]:
    """An error reply; `param` is the option that it is about."""
    return status, {"error": {"message": message, "type": "fake", "code": None, "param": param}}


@contextmanager
def scripted_endpoint(
    script: Callable[[Body], tuple[Any, ...]], model: Body | None = None, port: int = 0
) -> Iterator[ScriptedEndpoint]:
    """Serve a script until the end of the block; `model` answers every GET (404 without one)."""
    endpoint = ScriptedEndpoint("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200 if model else 404, model or {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.requests.append(body)
            self.answer(*script(body))

        def answer(self, status: int, reply: Body, *headers: dict[str, str]) -> None:
            data = json.dumps(reply).encode()
            self.send_response(status)
            for name, value in headers[0].items() if headers else ():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked has given up
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def textstat() -> ModuleType:
    """textstat 0.7.3; it imports `pkg_resources`, which setuptools no longer has, to open its word lists only."""
    root = Path(next(iter(importlib.util.find_spec("textstat").submodule_search_locations)))  # type: ignore
    stand_in = ModuleType("pkg_resources")
    stand_in.resource_stream = lambda _, path: io.BytesIO((root / path).read_bytes())  # type: ignore[attr-defined]
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stand_in
    try:
        return importlib.import_module("textstat")
    finally:
        if before is not None:
            sys.modules["pkg_resources"] = before


def write_encoder(folder: Path, kind: str = "bert", limit: int = 64) -> Path:
    """A random encoder of three layers as a folder: "bert" (word pieces, [CLS] and [SEP]) or "distilbert", whose layers
    have another name. It takes `limit` tokens."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz.,?!'0123456789"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{each}" for each in letters)]
    vocabulary = {piece: place for place, piece in enumerate([*pieces, "the", "call", "your", "##ing", "servicer"])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=limit,
    )  # fmt: skip
    torch.manual_seed(1)
    size = len(vocabulary)
    if kind == "bert":
        shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
        model: Any = BertModel(
            BertConfig(vocab_size=size, max_position_embeddings=limit, initializer_range=0.5, **shape)
        )
    else:
        shape = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32}
        model = DistilBertModel(
            DistilBertConfig(vocab_size=size, max_position_embeddings=limit, initializer_range=0.5, **shape)
        )
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
