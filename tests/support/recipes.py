"""The recipes of docs/extending.md, a section each, as the blocks that their reader writes and types.

A fenced block with a title that is a path is a file, `sh` is what one types there. `record.json` is a part of a record
that the commands before it leave, `answer` what the command before it says instead of measuring.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mlsys.defaults import ROOT


class Block(NamedTuple):
    language: str
    title: str
    text: str


def recipes() -> dict[str, list[Block]]:
    """The page's sections that have blocks."""
    found = {}
    for section in (ROOT / "docs" / "extending.md").read_text().split("\n## ")[1:]:
        blocks = re.findall(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', section, re.MULTILINE | re.DOTALL)
        found[section.splitlines()[0]] = [Block(*block) for block in blocks]
    return found
