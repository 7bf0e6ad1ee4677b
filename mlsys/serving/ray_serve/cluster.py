"""The Ray that a service runs on: one of its own, gone with it however it ends, or a cluster that stays as it was.

Ray's processes lead sessions of their own and outlive a killed parent for a while. So each that we start carries a mark
in its environment, and a small warden, which sees this process's end by the end of a pipe, kills all that carry it and
removes their folder. On a cluster that was there before, it takes away our application instead.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlsys.errors import UserError, one_line
from mlsys.loadtest.children import environment
from mlsys.quantities import cores
from mlsys.serving.http.server import bind
from mlsys.serving.modes.ray import RayServe

HERE = "127.0.0.1"
MARK = "MLSYS_RAY_SESSION"
OBJECTS_BYTES = 100 << 20  # of shared memory: requests and answers are small
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"
}  # a Ray for one machine: it takes 127.0.0.1 for its address
PLAIN = {
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"
}  # no ports of replicas for HAProxy, and no 30 s of waiting at their end
WARDEN_S = 10.0


@contextmanager
def joined(options: RayServe) -> Iterator[None]:
    """Connected to Ray for as long as the body runs."""
    os.environ |= QUIET
    if options.throughput_optimized:
        os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
    if options.address is None:
        with _own(options):
            yield
    else:
        with _there(options, options.address):
            yield


def _watched(options: RayServe) -> dict[str, str]:
    """Ray gives up what answers clients after three bad checks in a row, 30 s by its own settings."""
    return {
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": f"{options.check_interval_s / 3:g}",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": f"{options.check_timeout_s:g}",
    }


def free_port(host: str, port: int) -> int:
    """`port`, or with 0 one that is free just now. Raises UserError if it cannot be had."""
    with bind(host, port) as listener:
        found: int = listener.getsockname()[1]
    return found


def _haproxy(directory: str) -> dict[str, str]:
    """HAProxy in front of replicas that speak HTTP themselves; its files go where ours are."""
    files = {
        "CONFIG_FILE_LOC": "haproxy.cfg",
        "SOCKET_PATH": "admin.sock",
        "SERVER_STATE_FILE": "state",
        "METRICS_SOCKET_PATH": "metrics.sock",
    }
    places = {f"RAY_SERVE_HAPROXY_{name}": f"{directory}/{file}" for name, file in files.items()}
    return {
        **places,
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": directory,
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        **{f"RAY_SERVE_HAPROXY_{name}_PORT": str(free_port(HERE, 0)) for name in ("STATS", "METRICS")},
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_DEFAULT_HTTP_HOST": "0.0.0.0",  # it insists; ours is given with each start, and is another
    }


@contextmanager
def _own(options: RayServe) -> Iterator[None]:
    mark = uuid.uuid4().hex
    directory = tempfile.mkdtemp(prefix="mlsys-ray-")
    with _warden(["kill", f"{MARK}={mark}", directory]):
        os.environ |= _watched(options)
        os.environ |= _haproxy(directory) if options.proxy == "haproxy" else PLAIN
        os.environ |= {**ALONE, MARK: mark, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}
        import ray

        gpus = {} if options.num_gpus is None or options.num_gpus else {"num_gpus": 0}
        with contextlib.ExitStack() as stack:
            ray.init(
                address="local",
                num_cpus=max(cores(), -(-options.most_replicas * options.num_cpus // 1) or 1),
                include_dashboard=False,
                object_store_memory=OBJECTS_BYTES,
                log_to_driver=True,
                logging_level="warning",
                _node_ip_address=HERE,
                _temp_dir=directory,
                **gpus,
            )
            stack.callback(ray.shutdown)
            yield


@contextmanager
def _there(options: RayServe, address: str) -> Iterator[None]:
    import ray

    from mlsys.serving.ray_serve import leave

    try:
        leave.connect(address)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"server.address={address}: there is no Ray cluster to be reached: {one_line(error)}"
        ) from None
    try:
        known = leave.routes()
        if options.app in (known or {}):
            raise UserError(f"server.app={options.app} runs on that cluster already: choose another name")
        if taken := [name for name, route in (known or {}).items() if route == "/"]:
            raise UserError(f"server.address={address}: its Ray Serve answers at / with {taken[0]} already")
        words = [address, options.app, *(["serve"] if known is None else [])]
        with _warden([sys.executable, "-m", "mlsys.serving.ray_serve.leave", *words]):
            yield
    finally:
        ray.shutdown()


@contextmanager
def _warden(argv: list[str]) -> Iterator[None]:
    """A process that does its work once this one has ended, or the body. Waited for where the body ends."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("warden.py")), *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **environment()},
    )
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(WARDEN_S)
