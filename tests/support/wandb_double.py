"""A double of the W&B server on loopback: as much of it as the real client needs.

It keeps what arrives (runs, history, summaries, files, artifacts, views) so that tests can look at it.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

Variables = dict[str, Any]
Answer = dict[str, Any]
KEY = "k" * 40
ENTITY = "double"
NOW = "2026-11-24T09:00:00"


@dataclass
class Store:
    """All that has arrived."""

    key: str = KEY
    address: str = ""
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    summary: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    exited: set[str] = field(default_factory=set)
    commands: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def named(self, operation: str) -> list[dict[str, Any]]:
        """The variables of every call of one GraphQL operation."""
        return [variables for name, variables in self.operations if name == operation]


@contextmanager
def serve(key: str = KEY) -> Iterator[Store]:
    """The double on a free port of 127.0.0.1 while the body runs."""
    store = Store(key=key)
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"store": store}))
    store.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""


class Handler(BaseHTTPRequestHandler):
    store: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/graphql":
            self._graphql(json.loads(body))
        elif match := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            self._file_stream(match[1], json.loads(body))
        elif self.path == "/sdk/otel/v1/metrics":
            self._send({})
        else:
            self.store.unknown.append(f"POST {self.path}")
            self._send({}, 404)

    def do_PUT(self) -> None:
        with self.store.lock:
            self.store.files[unquote(urlsplit(self.path).path)] = self._body()
        self._send({})

    def do_GET(self) -> None:
        content = self.store.files.get(unquote(urlsplit(self.path).path))
        self._send(content if content is not None else {}, 200 if content is not None else 404)

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, content: Any, status: int = 200) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _graphql(self, request: dict[str, Any]) -> None:
        query, variables = request["query"], request.get("variables") or {}
        operation = request.get("operationName") or re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = operation if isinstance(operation, str) else operation[1] if operation else "?"
        if b64encode(f"api:{self.store.key}".encode()).decode() not in self.headers.get("Authorization", ""):
            self._send({"errors": [{"message": "user is not logged in"}]}, 401)
            return
        with self.store.lock:
            self.store.operations.append((name, variables))
            answer = getattr(self, f"_on_{name}", None)
            if answer is None:
                self.store.unknown.append(name)
                self._send({"data": {}})
                return
            self._send({"data": answer(variables)})

    def _file_stream(self, run: str, body: dict[str, Any]) -> None:
        with self.store.lock:
            for name, part in (body.get("files") or {}).items():
                lines = [
                    json.loads(line)
                    for line in part["content"]
                    if name.endswith(("history.jsonl", "summary.json"))
                ]
                if name == "wandb-history.jsonl":
                    self.store.history.setdefault(run, []).extend(lines)
                elif name == "wandb-summary.json":
                    self.store.summary.setdefault(run, {}).update(lines[-1])
            if body.get("complete"):
                self.store.exited.add(run)
        self._send({"exitcode": None, "limits": {}})

    def _on_Viewer(self, variables: Variables) -> Answer:
        teams = {"edges": [{"node": {"id": "t", "name": ENTITY}}]}
        return {
            "viewer": {
                "id": "u1",
                "username": ENTITY,
                "entity": ENTITY,
                "name": ENTITY,
                "email": "d@example.org",
            }
            | {"admin": False, "teams": teams, "flags": "{}", "apiKeys": {"edges": []}}
        }

    def _on_UpsertBucket(self, variables: Variables) -> Answer:
        run = self.store.runs.setdefault(variables["name"], {})
        inserted = not run
        run.update({key: value for key, value in variables.items() if value is not None})
        project = {"id": "p1", "name": run.get("project") or "mlsys", "entity": {"id": "e1", "name": ENTITY}}
        bucket = {
            "id": f"id-{run['name']}",
            "name": run["name"],
            "displayName": run.get("displayName", ""),
            "project": project,
        }
        bucket |= {
            "description": "",
            "config": run.get("config", "{}"),
            "sweepName": run.get("sweep"),
            "historyLineCount": 0,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _on_RunResumeStatus(self, variables: Variables) -> Answer:
        return {"model": None}

    def _on_CreateRunFiles(self, variables: Variables) -> Answer:
        files = [
            {"name": name, "uploadUrl": self._storage(f"runs/{variables['run']}/{name}")}
            for name in variables["files"]
        ]
        return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}

    def _on_ServerFeaturesQuery(self, variables: Variables) -> Answer:
        return {"serverInfo": {"features": []}}

    def _on_ArtifactType(self, variables: Variables) -> Answer:
        return {"project": {"artifact": None}}

    def _on_CreateArtifact(self, variables: Variables) -> Answer:
        made = variables["input"]
        key = f"artifact-{len(self.store.artifacts) + 1}"
        self.store.artifacts[key] = {
            "name": made["artifactCollectionName"],
            "type": made["artifactTypeName"],
        } | {"run": made["runName"], "files": {}, "state": "PENDING"}
        return {
            "createArtifact": {
                "artifact": {"id": key, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
            }
        }

    def _on_CreateArtifactManifest(self, variables: Variables) -> Answer:
        return {
            "createArtifactManifest": {"artifactManifest": self._manifest(variables["artifactID"], variables)}
        }

    def _on_UpdateArtifactManifest(self, variables: Variables) -> Answer:
        key = variables["artifactManifestID"].removeprefix("manifest-")
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(key, variables)}}

    def _manifest(self, key: str, variables: Variables) -> Answer:
        upload = (
            {"uploadUrl": self._storage(f"manifests/{key}"), "uploadHeaders": []}
            if variables["includeUpload"]
            else {}
        )
        return {"id": f"manifest-{key}", "file": {"id": f"file-{key}", **upload}}

    def _on_CreateArtifactFiles(self, variables: Variables) -> Answer:
        edges = []
        for file in variables["input"]["artifactFiles"]:
            key = file["artifactID"]
            path = f"artifacts/{key}/{file['name']}"
            self.store.artifacts[key]["files"][file["name"]] = f"/storage/{path}"
            node = {"storagePath": path, "uploadUrl": self._storage(path), "uploadHeaders": []}
            edges.append({"node": node | {"uploadMultipartUrls": None, "artifact": {"id": key}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _on_CommitArtifact(self, variables: Variables) -> Answer:
        self.store.artifacts[variables["artifactID"]]["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "d"}}}

    def _on_Views(self, variables: Variables) -> Answer:
        views = [view for view in self.store.views if view["type"] == variables["viewType"]]
        return {"project": {"allViews": {"edges": [{"node": view} for view in views]}}}

    def _on_UpsertView2(self, variables: Variables) -> Answer:
        known = next((view for view in self.store.views if view["id"] == variables.get("id")), None)
        view = known if known is not None else {"id": f"view-{len(self.store.views)}"}
        view |= {key: value for key, value in variables.items() if value is not None}
        if known is None:
            self.store.views.append(view)
        project = {"id": "p1", "name": view["projectName"], "entityName": view["entityName"]}
        return {
            "upsertView": {"view": view | {"project": project, "updatedAt": NOW}, "inserted": known is None}
        }

    _on_upsertView = _on_UpsertView2

    def _on_GetProjects(self, variables: Variables) -> Answer:
        project = {
            "id": "p1",
            "name": "mlsys",
            "entityName": ENTITY,
            "createdAt": NOW,
            "isBenchmark": False,
            "user": None,
        }
        edges = [{"node": {"__typename": "Project", **project}}]
        return {"models": {"pageInfo": {"endCursor": None, "hasNextPage": False}, "edges": edges}}

    def _on_UpsertSweep(self, variables: Variables) -> Answer:
        name = variables.get("id") or f"sweep{len(self.store.sweeps) + 1}"
        self.store.sweeps.setdefault(name, {}).update(variables)
        project = {"id": "p1", "name": "mlsys", "entity": {"id": "e1", "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": name, "project": project}, "configValidationWarnings": []}}

    def _on_SweepWithRuns(self, variables: Variables) -> Answer:
        name = variables["sweep"]
        sweep = {"id": name, "name": name, "state": "RUNNING", "config": self.store.sweeps[name]["config"]}
        return {"project": {"sweep": sweep | {"runs": {"edges": []}}}}

    def _on_GetSweepState(self, variables: Variables) -> Answer:
        return {"project": {"sweep": {"state": "RUNNING"}}}

    def _on_CreateAgent(self, variables: Variables) -> Answer:
        return {"createAgent": {"agent": {"id": "agent1"}}}

    def _on_Heartbeat(self, variables: Variables) -> Answer:
        busy = "true" in (variables.get("runState") or "").lower()
        commands = [self.store.commands.pop(0)] if self.store.commands and not busy else []
        return {"agentHeartbeat": {"agent": {"id": "agent1"}, "commands": json.dumps(commands)}}

    def _storage(self, path: str) -> str:
        return f"{self.store.address}/storage/{quote(path)}"
