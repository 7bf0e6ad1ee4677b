"""A folder of modules is the list of what there is: its module `single_pass` holds the class `SinglePass`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from mlsys.errors import UserError


def names(path: Iterable[str]) -> list[str]:
    """The modules in a package's `__path__`, without those that begin with _. Imports none of them."""
    found = iter_modules(path)
    return sorted(one.name for one in found if not (one.ispkg or one.name.startswith("_")))


def make(group: str, package: str, path: Iterable[str], name: object) -> Any:
    """What `group` calls `name`: its class with its own defaults. Raises UserError for a name that is not there."""
    there = names(path)
    if name not in there:
        raise UserError(f"{group}={name} is none of {', '.join(there)}")
    module, kind = import_module(f"{package}.{name}"), "".join(map(str.capitalize, str(name).split("_")))
    if not hasattr(module, kind):
        raise UserError(f"{group}={name}: {module.__file__} has no class {kind}")
    return getattr(module, kind)()
