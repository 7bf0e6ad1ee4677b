"""`retriever.filter={source: …}`: only passages of these sources may be found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from mlsys.errors import UserError

FIELDS = ("source",)
SHOWN = 5


class Filter:
    """`source`: one name or a list of names; `*`, `?` and `[…]` stand for any text, any character, any of these."""

    def __init__(self, given: Mapping[str, Any] | None) -> None:
        if given is not None and not isinstance(given, Mapping):
            raise UserError(f"retriever.filter={given} must be fields: retriever.filter={{source: NAME}}")
        for field in given or {}:
            if field not in FIELDS:
                raise UserError(
                    f"retriever.filter.{field} is no field of a passage; it has {', '.join(FIELDS)}"
                )
        self.given = dict(given or {})
        source = (given or {}).get("source")
        wanted = source if isinstance(source, list) else [] if source is None else [source]
        if source is not None and (not wanted or any(isinstance(one, (dict, list, bool)) for one in wanted)):
            raise UserError(f"retriever.filter.source={source} must be a name or a list of names")
        self._patterns = [str(one) for one in wanted]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def takes(self, source: str) -> bool:
        """Whether passages of this source may be found."""
        return not self._patterns or any(source == one or fnmatchcase(source, one) for one in self._patterns)

    def chosen(self, sources: Iterable[str]) -> list[str]:
        """Those of the sources that may be found, in order. Raises UserError where there is none."""
        there = sorted(set(sources))
        chosen = [source for source in there if self.takes(source)]
        if not chosen:
            shown = ", ".join(there[:SHOWN]) + (
                f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
            )
            wanted = ", ".join(self._patterns)
            raise UserError(
                f"retriever.filter.source={wanted} matches no source; there are: {shown or 'none'}"
            )
        return chosen

    def describe(self) -> str | None:
        """What the record says."""
        return ", ".join(self._patterns) or None
