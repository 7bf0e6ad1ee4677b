"""What a replica is started with."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sections import made

from mlsys.serving.balancer import hosts, replicas
from mlsys.serving.balancer.backend import Backend


@pytest.mark.parametrize(
    ("gpus", "device", "taken"),
    [
        (["0", "1"], "cuda", ["0", "1", "0"]),
        (["4", "6", "7"], "auto", ["4", "6", "7"]),
        (["0", "1"], "cpu", [None] * 3),
        (["0"], "cuda", [None] * 3),
        ([], "auto", [None] * 3),
    ],
)
async def test_replicas_take_the_gpus_in_turn_and_say_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: list[str], device: str, taken: list[str | None]
) -> None:
    environments = []

    class ChildProcess:
        def __init__(self, argv: Sequence[str], env: dict[str, str], log: Path) -> None:
            environments.append(env)

        def start(self) -> None:
            pass

        def address(self) -> str:
            return "http://127.0.0.1:1"

    monkeypatch.setattr(replicas, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(hosts, "LocalProcess", ChildProcess)
    options = made("server/lb")
    backends = [Backend(f"replica-{index}", None, options) for index in range(3)]
    for index, backend in enumerate(backends):
        await replicas.Replica(
            index, backend, options, {"device": device}, Path(tmp_path), hosts.LocalHosts()
        ).start()
    assert [backend.stats().get("gpu") for backend in backends] == taken
    assert environments == [{} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu} for gpu in taken]
