"""The process of `server=ray`: puts the application on Ray, says where it answers, watches it, takes it away again."""

from __future__ import annotations

import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from types import FrameType
from typing import Any

from mlsys import interrupts, tls
from mlsys.errors import ProcessEnded, UserError, last_words
from mlsys.progress import say, step
from mlsys.serving.modes import Parts
from mlsys.serving.modes.ray import RayServe
from mlsys.serving.process import READY
from mlsys.serving.ray_serve import cluster, leave

WATCH_S = 0.5
ANSWER_S = 60.0
DEFAULT_PORT = 8000  # Ray Serve's


def run(options: RayServe, parts: Parts) -> int:
    """Until a signal. Returns the exit status. Raises UserError for what the user can mend."""
    if options.num_gpus is None:
        options.num_gpus = gpus_each(options, parts.config["device"])
    port = cluster.free_port(options.host, options.port) if options.address is None else options.port
    with cluster.joined(options):
        interrupts.leave_at_once(0)  # Ray takes SIGTERM for itself
        known = leave.routes()
        address = _deployed(options, parts.config, port)
        stop = _Stop()
        interrupts.take(stop)
        print(f"{READY}{address}", flush=True)
        _watch(options, stop)
        with step("taking the application away"):
            leave.leave(options.app, serve_too=options.address is not None and known is None)
    return 0


def gpus_each(options: RayServe, device: str) -> float:
    """What of a GPU each replica gets: one, or a share of them where there are fewer."""
    from mlsys.environment import visible_gpus

    gpus = [] if device == "cpu" else visible_gpus()
    return min(1.0, len(gpus) / options.most_replicas)


class _Stop:
    """Set by a signal; a second one, later than a moment, ends the process at once."""

    def __init__(self) -> None:
        self.event, self._first_at = threading.Event(), 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.event.is_set():
            self._first_at = time.monotonic()
            self.event.set()
            interrupts.leave_on_second()


def _deployed(options: RayServe, config: dict[str, Any], port: int) -> str:
    """The address at which the application answers. A Ray Serve that runs already keeps its own."""
    from ray import serve
    from ray.serve.context import _get_global_client

    from mlsys.serving.ray_serve.application import build

    http = {"host": options.host, "port": port or DEFAULT_PORT, "location": "HeadOnly"}
    serve.start(http_options={**http, "ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key})
    started = time.monotonic()
    try:
        with step(f"starting {options.replicas} replicas on Ray"):
            serve.run(build(config), name=options.app, route_prefix="/")
    except RuntimeError as error:
        raise _reason(error, options) from None
    url = reachable(_get_global_client().root_url, options)
    if options.tls_cert is not None:
        url = url.replace("http://", "https://")
    _answers(
        f"{url}/ready", tls.own(options.tls_cert), options.start_timeout_s - (time.monotonic() - started)
    )
    return url


def reachable(url: str, options: RayServe) -> str:
    """Where a client here reaches what listens at `url` on the cluster's head."""
    head = options.address or ""
    host = head.removeprefix("ray://").rpartition(":")[0] if ":" in head else "127.0.0.1"
    return re.sub(r"//(0\.0\.0\.0|\[::\])(?=:)", f"//{host}", url.rstrip("/"))


def _reason(error: RuntimeError, options: RayServe) -> Exception:
    """A mistake of the user's that a replica found, out of what Ray tells of it; else what the replica died of."""
    from ray import serve

    application = serve.status().applications.get(options.app)
    told = [] if application is None else [one.message for one in application.deployments.values()]
    text = "\n".join([str(error), *told])
    if found := re.findall(r"UserError.*?: (.*)", text):
        return UserError(found[-1])
    return ProcessEnded(f"the replicas on Ray could not be started: {last_words(text)}")


def _answers(url: str, trusted: ssl.SSLContext | None, within_s: float) -> None:
    until = time.monotonic() + max(within_s, 1.0)
    while True:
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_S, context=trusted) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > until:
                raise TimeoutError(f"{url} is not answered: {error}") from None
        time.sleep(0.05)


def _watch(options: RayServe, stop: _Stop) -> None:
    """Until the signal; says when the application is not whole, raises where Ray is gone."""
    from ray import serve

    known = "RUNNING"
    while not stop.event.wait(WATCH_S):
        application = serve.status().applications.get(options.app)
        state = "gone" if application is None else application.status.value
        if state != known:
            say(f"{options.app} on Ray is {state}")
            known = state
        if application is None:
            raise RuntimeError(f"{options.app} is no longer on Ray: somebody has deleted it")
