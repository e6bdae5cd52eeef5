"""A question finds its expert: `from router import Router`."""

from router.route import Route, Router

__all__ = ["Route", "Router"]
