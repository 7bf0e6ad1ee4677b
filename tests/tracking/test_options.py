from __future__ import annotations

import pytest
from hydra.errors import ConfigCompositionException
from sections import configuration

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.run import config
from mlsys.tracking import NullSink
from mlsys.tracking.wandb import WandbSink


def tracking(*overrides: str) -> object:
    return signatures.make("tracking", config.resolved(configuration(*overrides))["tracking"])


def test_each_option_makes_its_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    off, offline, online = (tracking(f"tracking={name}") for name in ("off", "offline", "online"))
    assert isinstance(off, NullSink)
    assert isinstance(offline, WandbSink)
    assert isinstance(online, WandbSink)
    assert (offline.mode, offline.project, offline.entity) == ("offline", "mlsys", None)
    assert online.mode == "online"


def test_the_environment_decides_where_the_command_line_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    sink = tracking("tracking=offline")
    assert isinstance(sink, WandbSink)
    assert (sink.mode, sink.project) == ("disabled", "mine")


def test_an_unknown_knob_is_an_error() -> None:
    with pytest.raises(ConfigCompositionException, match="projct"):
        tracking("tracking.projct=x")


def test_a_wrong_type_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^tracking\.timeout_s=soon must be a number$"):
        tracking("tracking.timeout_s=soon")
