"""What the service counts, in Prometheus' text format: `GET /metrics`. No label holds anything that a client wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.types import Scope

from router.assistant import Piece
from router.route import Route

PATHS = ("/health", "/ready", "/metrics", "/openapi.json", "/v1/models", "/v1/route", "/v1/chat/completions")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
Gauges = Callable[[], Mapping[str, float]]


class Metrics:
    """The counters of one service; `gauges` gives the numbers of the back-end at the time of asking."""

    def __init__(self, gauges: Gauges) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "expertsmith_requests", "Requests by path and status", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "expertsmith_request_seconds", "Time of a request", ["path"], buckets=SECONDS, registry=registry
        )
        self.first = Histogram(
            "expertsmith_time_to_first_token_seconds", "From the request to its first token", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.each = Histogram(
            "expertsmith_time_per_output_token_seconds",
            "From one token to the next",
            buckets=SECONDS,
            registry=registry,
        )
        self.tokens = Counter("expertsmith_tokens", "Tokens read and written", ["kind"], registry=registry)
        self.routed = Counter("expertsmith_routed", "Answers by expert", ["expert", "abstained"], registry=registry)
        registry.register(BackendNumbers(gauges))
        ProcessCollector(registry=registry)

    def request(self, scope: Scope, status: int, seconds: float) -> None:
        """A request is over; status 0 means that its client left first."""
        path = scope["path"] if scope["path"] in PATHS else "other"
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def route(self, route: Route) -> None:
        """An answer was begun."""
        self.routed.labels(route.expert, str(route.abstained).lower()).inc()

    def answered(self, pieces: Sequence[Piece], to_first: float, to_last: float) -> None:
        """An answer is whole; the times are seconds since its request."""
        last = [piece for piece in pieces if piece.finish_reason]
        written = sum(piece.completion_tokens for piece in last)
        self.tokens.labels("prompt").inc(max((piece.prompt_tokens for piece in last), default=0))
        self.tokens.labels("completion").inc(written)
        self.first.observe(to_first)
        if written > 1:
            self.each.observe((to_last - to_first) / (written - 1))

    def text(self) -> bytes:
        """All numbers."""
        return generate_latest(self.registry)


class BackendNumbers:
    """The back-end's numbers as gauges."""

    def __init__(self, gauges: Gauges) -> None:
        self.gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """One gauge per number."""
        for name, value in self.gauges().items():
            yield GaugeMetricFamily(f"expertsmith_backend_{name}", f"The back-end's {name}", value=value)
