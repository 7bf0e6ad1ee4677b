"""docs/extending.md followed to the letter in a copy: files are written, commands run, records looked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recipes import recipes

from mlsys.defaults import ROOT

pytestmark = pytest.mark.slow


RECIPES = recipes()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a user who extends has: run.py, conf/ and mlsys/."""
    shutil.copy(ROOT / "run.py", tmp_path)
    for folder in ("conf", "mlsys"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def typed(lines: str, home: Path) -> subprocess.CompletedProcess[str]:
    """The lines of a block as bash takes them, in `home`, with this Python and without W&B."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(home),
        "MLSYS_OUTPUTS": str(home / "outputs"),
        "WANDB_MODE": "disabled",
    }
    line = ["bash", "-euc", lines]
    return subprocess.run(line, cwd=home, env=environment, capture_output=True, text=True, check=False)


def holds(content: Any, part: Any) -> bool:
    """Whether all that `part` names is so in `content`."""
    if not isinstance(part, dict):
        return bool(content == part)
    return all(key in content and holds(content[key], value) for key, value in part.items())


def records(home: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in home.glob("outputs/**/record.json")]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipe_is_all_it_takes(recipe: str, copy: Path) -> None:
    blocks = RECIPES[recipe]
    for number, block in enumerate(blocks):
        following = blocks[number + 1] if number + 1 < len(blocks) else block
        if block.title == "record.json":
            assert any(holds(content, json.loads(block.text)) for content in records(copy)), records(copy)
        elif block.title and block.title != "answer":
            path = copy / block.title
            assert not path.exists(), f"{path} would be overwritten"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "sh":
            done = typed(block.text, copy)
            said = done.stdout + done.stderr
            if following.title == "answer":
                assert done.returncode != 0
                assert following.text.strip() in said
                assert "Traceback" not in said
            else:
                assert done.returncode == 0, said


def test_there_is_a_recipe_for_each_kind_with_a_file_a_yaml_and_a_record() -> None:
    assert len(RECIPES) == 8
    for recipe, blocks in RECIPES.items():
        assert {block.language for block in blocks} >= {"python", "yaml", "sh", "json"}, recipe
