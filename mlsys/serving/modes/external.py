"""`server=external`: nothing is started; the load goes to a service that is there already."""

from __future__ import annotations

from dataclasses import dataclass

from mlsys import keys
from mlsys.errors import UserError


@dataclass
class External:
    """`url`: the service's address. `api_key`: `env:NAME`, the variable with the key that it asks for."""

    name: str
    url: str
    api_key: str | None

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"server.url={self.url} is not an address such as http://127.0.0.1:8000")
        keys.read(self.api_key)
