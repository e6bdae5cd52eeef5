"""The verbs that run and look after what is built: serve, export, doctor."""

from __future__ import annotations

import os

from domains.errors import UserError
from ui.commands import Options, emit, notices, say


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
    from router.local import LocalAssistant

    assistant = LocalAssistant.load(options.home, options.strategy)
    say(f"Serving {', '.join(assistant.experts)} on http://{options.host}:{options.port}/v1")
    run(create_app(assistant, key, notices()), assistant, Address(options.host, options.port), key)
    return 0


def doctor(options: Options) -> int:
    """Versions against the security floor, the device, the embedded models, the experts."""
    from ui.doctor import diagnose

    findings = diagnose(options.home)
    data = [vars(finding) for finding in findings]
    emit(options, data, [f"{'ok  ' if f.ok else 'FAIL'} {f.name}: {f.detail}" for f in findings])
    return 0 if all(f.ok for f in findings) else 1
