"""The file name is the registry: `s_dpo` loads `<package>/s_dpo.py`. A wrong name is refused before any import."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from domains.errors import unknown_name


def plugin_names(package: str) -> tuple[str, ...]:
    """Names of the plug-ins in a package, by its folder listing; a leading underscore hides a file."""
    paths = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(paths) if not m.name.startswith("_")))


def load_plugin(package: str, name: str, kind: str) -> ModuleType:
    """Import one plug-in by name."""
    names = plugin_names(package)
    if name not in names:
        raise unknown_name(kind, name, names)
    return importlib.import_module(f"{package}.{name}")
