"""`server=external`: nothing is started; the load goes to a service that is there already."""

from __future__ import annotations

from typing import Any

from mlsys.serving import options


class External:
    """Built from the knobs of `conf/server/external.yaml`; `options.url` is the address."""

    def __init__(self, **knobs: Any) -> None:
        self.options = options.External(**knobs)
