"""Errors as the OpenAI protocol says them: status, message, kind, code, and the field that is wrong."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable, Sequence
from typing import Any, get_args

from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from domains.errors import UserError
from router.assistant import BackendFailed, Busy, Closing, TimedOut

Body = dict[str, Any]
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
ARMS = {"str", "tuple", "list", "none"}  # of a union in pydantic's location; not part of a field's name
BUILT_IN = frozenset(get_args(ErrorType))  # other error types of ours are named after the field that is wrong
log = logging.getLogger(__name__)


class RequestError(Exception):
    """A request that is refused: HTTP status, message, and the field it is about (`param`, where there is one)."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers: dict[str, str] = {"WWW-Authenticate": "Bearer"} if status == 401 else {}

    @property
    def body(self) -> Body:
        """The OpenAI error body."""
        kind = KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "code": self.code, "param": self.param}}


def refusal(error: Exception) -> RequestError:
    """What the client is told: users' errors in full, HTTP errors by status, a bug in no detail."""
    if isinstance(error, RequestError):
        return error
    made = next((make for kind, make in REFUSALS.items() if isinstance(error, kind)), bug)
    return made(error)


def bug(error: Any) -> RequestError:
    """What is told of an error that nobody expected: nothing of it."""
    return RequestError(500, "The service failed on this request. The cause is in its log.", "internal_error")


def later(status: int, message: str, code: str, seconds: float) -> RequestError:
    """A refusal that says when to try again."""
    error = RequestError(status, message, code)
    error.headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
    return error


REFUSALS: dict[type[Exception], Callable[[Any], RequestError]] = {
    UserError: lambda error: RequestError(400, str(error), "user_error", error.field),
    Busy: lambda error: later(429, f"{error} Try again in a moment.", "busy", error.retry_after_seconds),
    Closing: lambda error: later(503, str(error), "shutting_down", 5),
    TimedOut: lambda error: RequestError(504, f"{error} Ask for fewer tokens, or try again later.", "timeout"),
    BackendFailed: lambda error: RequestError(502, str(error), "backend_failed"),
    HTTPException: lambda error: RequestError(
        error.status_code, f"{error.detail}. See /v1/models for a first request.", "http_error"
    ),
}


def told(error: RequestError) -> Response:
    """The response for a refusal."""
    return JSONResponse(error.body, error.status, error.headers)


async def answer_error(request: Request, error: Exception) -> Response:
    """Any exception as an OpenAI error body; a bug goes to the log."""
    found = refusal(error)
    if found.code == "internal_error":
        log_bug(error)
    return told(found)


def log_bug(error: Exception) -> None:
    """Where it happened and what kind it is. Not its message: that may repeat what somebody asked."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("A request failed with %s.\n%s", type(error).__name__, frames)


def bad_field(error: ErrorDetails) -> RequestError:
    """The refusal for a problem that pydantic found."""
    if error["type"] == "json_invalid":
        return RequestError(400, f"{error['msg']}. Send one JSON object.", "invalid_json")
    if error["type"] == "model_type" and not error["loc"]:
        return RequestError(400, "The body must be one JSON object.", "invalid_body")
    location = error["loc"] if error["type"] in BUILT_IN else (*error["loc"], error["type"])
    param = field_name(location)
    reason = error["msg"][0].lower() + error["msg"][1:].replace(" after validation", "")
    reason = reason.replace("tuple", "list")
    value = given(error["input"]) if error["type"] in BUILT_IN else ""
    return RequestError(400, f"{param}: {reason}{value}.", "invalid_value", param)


def given(value: object) -> str:
    """What was given, where that is short enough to repeat."""
    return f", not {value!r}" if isinstance(value, int | float | str) and len(repr(value)) <= 60 else ""


def field_name(location: Sequence[int | str]) -> str:
    """`messages[0].role` from pydantic's location; the arms of a union are not part of the name."""
    names = [part for part in location if isinstance(part, int) or part.isidentifier()]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names if part not in ARMS)
    return text.removeprefix(".")
