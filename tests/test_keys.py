"""What counts as a key written out, and what is shown in its place."""

from __future__ import annotations

import pytest

from mlsys import keys
from mlsys.errors import UserError
from mlsys.run import config


@pytest.mark.parametrize(
    "word",
    [
        "server.api_key=hunter2",
        "++server.api_key=hunter2",
        "server.api_key='hunter2'",
        "server.api_key=env:A,hunter2",
        "hydra.sweeper.params.server.api_key=hunter2",
        "hydra.sweeper.params={server.api_key: hunter2}",
        "server.api_key=${oc.env:RAG_KEY}",
    ],
)
def test_a_key_on_the_command_line_is_refused(word: str) -> None:
    with pytest.raises(UserError, match=r"^server\.api_key must be env:NAME") as caught:
        keys.check_words(["run.py", word])
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in keys.hide(word)


@pytest.mark.parametrize(
    "word",
    ["server.api_key=env:RAG_KEY", "server.api_key=null,env:A", "server.api_key='env:A'", "server.port=80"],
)
def test_a_name_is_not(word: str) -> None:
    keys.check_words([word])
    assert keys.hide(word) == word


def test_a_directory_is_named_after_everything_but_the_key() -> None:
    name = config.slug("a=1,server.api_key=hunter2,server=batch")
    assert name.startswith("a=1,server.api_key=_,server=batch-")
    assert config.slug("server.api_key=env:A,server=batch") != config.slug(
        "server.api_key=env:B,server=batch"
    )


def test_a_key_is_hidden_wherever_a_configuration_holds_it() -> None:
    held = {"server": {"api_key": "hunter2", "port": 0}, "other": [{"api_key": "env:A"}, {"api_key": None}]}
    assert keys.without(held) == {**held, "server": {"api_key": "***", "port": 0}}
    with pytest.raises(UserError, match="must be env:NAME"):
        keys.check(held)
    keys.check({"server": {"api_key": "env:A"}})
