"""The service's own OpenAPI document (3.1), made from the request schema: `GET /openapi.json`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ui.schema import ChatRequest, RouteRequest

Body = dict[str, Any]
REFERENCE = "#/components/schemas/{model}"
TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
PROBLEMS = {
    400: "a field is wrong; it is named", 401: "the API key is missing or wrong", 403: "not from this machine",
    404: "no such model", 408: "the body was too slow", 413: "the body is too large", 429: "too many requests wait",
    500: "a bug", 502: "the back-end failed", 503: "shutting down", 504: "not finished in time",
}  # fmt: skip


def document() -> Body:
    """The whole document."""
    models: list[tuple[type[BaseModel], Any]] = [(ChatRequest, "validation"), (RouteRequest, "validation")]
    _, made = models_json_schema(models, ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "expertsmith", "version": version("expertsmith")},
        "paths": paths(),
        "components": {
            "schemas": made["$defs"]
            | {"Error": error_schema(), "Route": route_schema(), "Completion": completion_schema()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def paths() -> Body:
    """All routes."""
    model = record(id=TEXT, object=TEXT, created=WHOLE, owned_by=TEXT, digest=TEXT)
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    routes = {"anyOf": [ref("Route"), record(object=TEXT, data={"type": "array", "items": ref("Route")})]}
    return {
        "/health": {"get": operation("Whether the process is up; needs no key.", record(status=TEXT), ())},
        "/ready": {"get": operation("Whether a request would be served.", record(status=TEXT), (401, 403, 429))
                   | {"x-not-ready": 503}},
        "/metrics": {"get": with_text(operation("Numbers for Prometheus.", TEXT, (401, 403, 429)))},
        "/v1/models": {"get": operation(
            "The experts and `auto`.", record(object=TEXT, data={"type": "array", "items": model}), (401, 403, 429))},
        "/v1/models/{name}": {"get": operation("One expert.", model, (401, 403, 404, 429)) | {"parameters": [name]}},
        "/v1/route": {"post": with_body("RouteRequest", operation("Who would answer.", routes, tuple(PROBLEMS)))},
        "/v1/chat/completions": {"post": with_stream(with_body(
            "ChatRequest", operation("Route, then answer.", ref("Completion"), tuple(PROBLEMS))))},
    }  # fmt: skip


def ref(name: str) -> Body:
    """A reference to a schema of the document."""
    return {"$ref": REFERENCE.format(model=name)}


def record(**properties: Any) -> Body:
    """An object with these properties, all of which are there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def operation(summary: str, schema: Body, problems: tuple[int, ...]) -> Body:
    """A route with its answers."""
    failure = {"application/json": {"schema": ref("Error")}}
    responses: Body = {"200": {"description": "done", "content": {"application/json": {"schema": schema}}}}
    responses |= {str(status): {"description": PROBLEMS[status], "content": failure} for status in problems}
    return {"summary": summary, "responses": responses}


def with_body(name: str, made: Body) -> Body:
    """A route that reads a JSON body."""
    return made | {"requestBody": {"required": True, "content": {"application/json": {"schema": ref(name)}}}}


def with_text(made: Body) -> Body:
    """A route that answers in plain text."""
    made["responses"]["200"]["content"] = {"text/plain": {"schema": TEXT}}
    return made


def with_stream(made: Body) -> Body:
    """A route that may answer with server-sent events."""
    made["responses"]["200"]["content"]["text/event-stream"] = {"schema": TEXT}
    return made


def error_schema() -> Body:
    """The OpenAI error body."""
    optional = {"type": ["string", "null"]}
    return record(error=record(message=TEXT, type=TEXT, code=optional, param=optional))


def route_schema() -> Body:
    """A routing decision."""
    scores = {"type": "object", "additionalProperties": NUMBER}
    return record(expert=TEXT, confidence=NUMBER, scores=scores, abstained={"type": "boolean"}, strategy=TEXT)


def completion_schema() -> Body:
    """A whole answer."""
    message = record(role=TEXT, content={"type": ["string", "null"]})
    choice = record(index=WHOLE, message=message, finish_reason=TEXT)
    usage = record(prompt_tokens=WHOLE, completion_tokens=WHOLE, total_tokens=WHOLE)
    choices = {"type": "array", "items": choice, "minItems": 1}
    return record(
        id=TEXT, object={"const": "chat.completion"}, created=WHOLE, model=TEXT, choices=choices, usage=usage,
        expertsmith=ref("Route"),
    )  # fmt: skip
