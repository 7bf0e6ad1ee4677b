"""`server=external`: nothing is started; the load goes to a service that is there already."""

from __future__ import annotations

from typing import Any

from mlsys.errors import UserError
from mlsys.serving import options
from mlsys.serving.service import Parts, Service


class External:
    """Built from the knobs of `conf/server/external.yaml`; `options.url` is the address."""

    def __init__(self, **knobs: Any) -> None:
        self.options = options.External(**knobs)

    def service(self, parts: Parts) -> Service:
        """There is none to build."""
        raise UserError("server=external is somebody else's service: it can be load-tested, not served")
