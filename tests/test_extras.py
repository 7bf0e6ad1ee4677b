"""What is said where an extra is not installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from mlsys import extras
from mlsys.errors import UserError, root

REQUIRES = [
    "numpy>=2.1",
    "aiohttp>=3.11; extra == 'serving'",
    "uvloop>=0.21; platform_system != 'Windows' and extra == 'serving'",
    "faiss-cpu>=1.9; extra == 'serving'",
    'wandb-workspaces>=0.4 ; extra == "wandb"',
    "plotly>=6.0; extra == 'mlflow'",
    "mlflow-skinny>=3.5; extra == 'mlflow'",
    "plotly>=6.0; extra == 'page'",
    "build>=1.2; extra == 'test'",
]


@pytest.fixture(autouse=True)
def metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda name: REQUIRES)


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("aiohttp", "serving"),
        ("uvloop", "serving"),
        ("faiss", "serving"),
        ("wandb_workspaces.workspaces", "wandb"),
        ("plotly", "page"),  # the smallest of those that bring it
    ],
)
def test_the_line_names_the_extra_that_brings_a_module(module: str, extra: str) -> None:
    assert extras.missing(module) == f"{module.split('.')[0]} is not installed: pip install 'mlsys[{extra}]'"


@pytest.mark.parametrize("module", ["numpy", "build", "nonsense"])
def test_a_module_of_no_extra_is_not_ours_to_explain(module: str) -> None:
    assert extras.missing(module) is None


def test_an_import_that_fails_for_want_of_an_extra_is_the_users_to_mend() -> None:
    found = root(ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp"))
    assert isinstance(found, UserError)
    other = ModuleNotFoundError("No module named 'nonsense'", name="nonsense")
    assert root(other) is other


def test_sources_that_are_not_installed_have_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", absent)
    assert extras.missing("aiohttp") is None
