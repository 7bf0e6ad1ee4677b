"""Finding named models: folders, names, and a hub that is out of reach (a closed port stands for it)."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag import hub


@pytest.fixture(autouse=True)
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    for name in (*hub.PROXIES, "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield server


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert hub.locate("generator.model", str(tmp_path)) == hub.Location(str(tmp_path), True)


def test_a_name_is_the_hubs_where_it_can_be_reached(endpoint: socket.socket) -> None:
    endpoint.listen()
    assert hub.locate("generator.model", "facebook/opt-125m") == hub.Location("facebook/opt-125m", False)


def test_a_hub_out_of_reach_is_said_and_its_cache_looked_into(capsys: pytest.CaptureFixture[str]) -> None:
    assert hub.locate("generator.model", "facebook/opt-125m") == hub.Location("facebook/opt-125m", True)
    assert "generator.model=facebook/opt-125m: the model hub is out of reach" in capsys.readouterr().err


def test_asking_to_be_offline_is_honoured(endpoint: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.listen()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.locate("generator.model", "facebook/opt-125m").local_only


@pytest.mark.parametrize("model", ["./nowhere", "/no/where", "~/nowhere", "a/b/c"])
def test_a_wrong_path_is_named(model: str) -> None:
    with pytest.raises(UserError, match=rf"^generator.model={model} is no folder, and no name"):
        hub.locate("generator.model", model)


@pytest.mark.parametrize(
    ("load", "option"),
    [
        (lambda name: option("generator/model", model=name).load("cpu", 0), "generator.model"),
        (lambda name: option("embedder/model", model=name).load("cpu"), "embedder.model"),
    ],
)
def test_a_model_that_is_nowhere_is_one_line(load: Callable[[str], None], option: str) -> None:
    message = f"^{option}=nobody/nothing: the model hub is out of reach and the model is not in its cache$"
    with pytest.raises(UserError, match=message):
        load("nobody/nothing")
