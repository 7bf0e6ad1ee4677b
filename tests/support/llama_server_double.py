"""What `generator=llama_cpp` needs of a `llama-server`, as a program: `python llama_server_double.py -m FILE …`.

`--says TEXT`: end with 1 after that line. GET `/asked` tells the command line and the bodies that came.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WORDS = sys.argv[1:]
ASKED: list[Any] = []


def option(name: str, default: str = "") -> str:
    return WORDS[WORDS.index(name) + 1] if name in WORDS else default


class Double(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        told: dict[str, Any] = {
            "/health": {"status": "ok"},
            "/models": {"data": [{"id": option("--alias"), "owned_by": "llamacpp"}]},
            "/props": {"build_info": "b4321-double"},
            "/asked": {"words": WORDS, "bodies": ASKED},
        }
        found = told.get(self.path)
        self._head(200 if found else 404, "application/json")
        self.wfile.write(json.dumps(found).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ASKED.append({"path": self.path, **body})
        self._head(200, "text/event-stream")
        for text, finish in ((" Yes", None), (", indeed ", None), ("", "length")):
            self._event({"choices": [{"text": text, "finish_reason": finish}]})
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": body["max_tokens"]}
        self._event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()

    def _event(self, content: Any) -> None:
        self.wfile.write(f"data: {json.dumps(content)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def program(folder: Path) -> Path:
    """The double as a file that can be executed."""
    path = folder / "llama-server"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {Path(__file__).resolve()} "$@"\n')
    path.chmod(0o755)
    return path


if __name__ == "__main__":
    if said := option("--says"):
        print(said, flush=True)
        sys.exit(1)
    ThreadingHTTPServer((option("--host"), int(option("--port"))), Double).serve_forever()
