"""`server=external`: nothing is started; the load goes to a service that is there already."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mlsys import keys
from mlsys.errors import UserError
from mlsys.loadtest import apis

NOT_GIVEN = "???"  # as YAML has it
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2


@dataclass
class External:
    """`url`: the service's address. `api_key`: `env:NAME`, the variable with the key that it asks for.

    The others say how it is asked (`mlsys.loadtest.apis`).
    """

    name: str
    url: str
    api: str
    api_key: str | None
    key_header: str
    model: str | None
    parameters: dict[str, Any]
    method: str
    path: str | None
    body: Any
    answer: str | None
    tokens: str | None

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            said = " is missing: give" if self.url == NOT_GIVEN else f"={self.url} is not"
            raise UserError(f"server.url{said} an address such as http://127.0.0.1:8000")
        keys.read(self.api_key)
        if not HEADER.fullmatch(self.key_header):
            raise UserError(f"server.key_header={self.key_header} is not a header's name such as X-API-Key")
        if not isinstance(self.parameters, dict):
            raise UserError(f"server.parameters={self.parameters} must be fields such as {{temperature: 0}}")
        apis.make(vars(self))
