"""The verbs that run and look after what is built: serve, export, doctor."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from domains.errors import UserError
from ui.commands import Options, emit, notices, say

if TYPE_CHECKING:
    from router.local import LocalAssistant


def serve(options: Options) -> int:
    """The OpenAI-compatible service."""
    from ui.server import Address, check_bind
    from ui.server import serve as run
    from ui.service import create_app

    key = os.environ.get(options.api_key_env) if options.api_key_env else None
    if options.api_key_env and not key:
        raise UserError(
            f"The environment variable {options.api_key_env} is not set. Set it to the key, or leave the option out."
        )
    check_bind(options.host, key)
    logging.basicConfig(
        level=logging.INFO if options.log_prompts else logging.WARNING, format="%(asctime)s %(message)s"
    )
    assistant = assistant_of(options)
    say(f"Serving {', '.join(assistant.experts)} on http://{options.host}:{options.port}/v1")
    app = create_app(assistant, key, notices(options.home), log_prompts=options.log_prompts)
    run(app, assistant, Address(options.host, options.port, options.drain_seconds), key)
    return 0


def assistant_of(options: Options) -> LocalAssistant:
    """The assistant over a home folder, in this process or in front of another server."""
    from router.local import LocalAssistant
    from router.scheduler import Limits

    if options.request_seconds <= 0 or options.drain_seconds < 0:
        raise UserError("--request-seconds must be above 0 and --drain-seconds at least 0.")
    limits = Limits(seconds=options.request_seconds)
    if not options.backend:
        return LocalAssistant.load(options.home, options.strategy, limits)
    from router.backends.several import connect_all
    from router.engine import servable
    from router.fit import load_router

    key = os.environ.get(options.backend_key_env) if options.backend_key_env else None
    server = connect_all(options.backend, key, tuple(servable(options.home)), limits)
    return LocalAssistant(server, load_router(options.home, options.strategy))


def export(options: Options) -> int:
    """An expert as one model."""
    from experts.export import export as run
    from experts.export import find_expert

    kind: Any = options.format  # both are checked by the export itself
    number_format: Any = options.dtype or ("f16" if kind == "gguf" else "bf16")
    done = run(find_expert(options.home, options.expert), kind, number_format, options.out)
    same = f"{done.same_tokens:.0%} of the greedy tokens of {done.probes} probes are the expert's own"
    emit(options, done.as_dict(), [f"Written: {done.path}", f"Checked: {same}."])
    return 0


def doctor(options: Options) -> int:
    """Versions against the security floor, the device, the embedded models, and whether the experts are the same
    everywhere."""
    from ui.doctor import diagnose

    key = os.environ.get(options.endpoint_key_env) if options.endpoint_key_env else None
    findings = diagnose(options.home, options.endpoint, key)
    data = [vars(finding) for finding in findings]
    emit(options, data, [f"{'ok  ' if f.ok else 'FAIL'} {f.name}: {f.detail}" for f in findings])
    return 0 if all(f.ok for f in findings) else 1
