"""One model is loaded at a time: while it loads, transformers changes torch for all threads, so that modules which
another thread makes meanwhile have no numbers. An expert learns while it answers, and a service has many threads."""

from __future__ import annotations

from threading import RLock

LOADING = RLock()
