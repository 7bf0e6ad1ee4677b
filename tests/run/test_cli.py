"""The mistakes that Hydra finds, as lines."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import hydra
import pytest
from omegaconf import DictConfig

from mlsys.defaults import ROOT
from mlsys.errors import MISUSE, UserError
from mlsys.run import cli, config, sweep


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def compose(*overrides: str) -> DictConfig:
    config.register()
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose("config", list(overrides))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("metric=l3", "metric=l3 is not an option; there are: cosine, dot, l1, l2, sqeuclidean"),
        ("tracking=wandb", "tracking=wandb is not an option; there are: mlflow, off, offline, online"),
        (
            "dtype=int3",
            "dtype=int3: Invalid value 'int3', expected one of [float64, float32, float16, bfloat16, int8]",
        ),
        ("repeats=many", "repeats=many: Value 'many' of type 'str' could not be converted to Integer"),
        ("sizes=3", "there is no option sizes; did you mean size?"),
        ("cost.loop=3", "there is no option cost.loop; did you mean cost.loop_ms?"),
        ("metric.power=3", "there is no option metric.power; --help lists the options"),
        (
            "metric=l2,l1",
            "metric=l2,l1: -m sweeps over commas; to take it as it stands: 'metric=\"l2,l1\"'",
        ),
        (
            "search.k=ü",
            "search.k=ü: a character that means something else here, or nothing; to take it as it stands: "
            "'search.k=\"ü\"'",
        ),
        ("size=[", "size=[: no viable alternative at input '['"),
    ],
)
def test_each_mistake_is_one_line_naming_option_and_value(
    override: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.call(lambda: compose(*override.split())) == MISUSE
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert printed.startswith(line)


def test_a_users_error_is_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    def mistake() -> None:
        raise UserError("size=1.5 is not a whole number")

    assert cli.call(mistake) == 2
    assert capsys.readouterr().err == "size=1.5 is not a whole number\n"


def test_our_own_errors_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.call(lambda: 1 / 0)


def test_who_asks_for_the_traceback_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def mistake() -> None:
        raise UserError("no")

    with pytest.raises(UserError):
        cli.call(mistake)


def test_failures_and_interrupts_have_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "failures", ["one: ValueError: no"])
    assert cli.call(lambda: None) == 1
    monkeypatch.setattr(sweep, "failures", [])
    assert cli.call(lambda: None) == 0

    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert cli.call(terminate) == 130
