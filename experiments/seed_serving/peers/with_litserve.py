"""The same engine behind LitServe: `python with_litserve.py SERVER.yaml --port 8101`, until Ctrl-C.

Annotations are evaluated here (no `from __future__`): LitServe reads the one of `decode_request`.
"""

from typing import Any

import litserve
from engine import HOST, Engine, arguments


class Rag(litserve.LitAPI):
    """One worker process; batches of `batching.max_size` within `batching.timeout_ms`."""

    def __init__(self, config: dict[str, Any]) -> None:
        batching = config["batching"]
        super().__init__(batching["max_size"], batching["timeout_ms"] / 1e3, api_path="/rag")
        self.config = config

    def setup(self, device: str) -> None:
        self.engine = Engine(self.config)

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return inputs

    def predict(self, x: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.engine(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    config, port = arguments()
    server = litserve.LitServer(Rag(config), accelerator="cpu", timeout=600)
    server.run(host=HOST, port=port, generate_client_file=False)
