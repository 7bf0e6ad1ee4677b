"""Who computes the default model: openvino on a CPU where it is there and can, else this project's decoder."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest
from sections import composed

from mlsys import extras
from mlsys.errors import UserError
from mlsys.rag import configured
from mlsys.rag.generator import choice, openvino

ABSENT = "openvino_genai is not installed: pip install 'mlsys[openvino]'"


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(extras, "absent", lambda module: None)
    monkeypatch.setattr(metadata, "version", lambda package: "1.0")
    return monkeypatch


def chosen(*overrides: str, device: str = "cpu") -> Any:
    return choice.generator(composed("server=continuous", *overrides), device)


def test_it_is_openvino_on_a_cpu_with_what_was_asked_of_the_model() -> None:
    made = chosen("generator.max_new_tokens=7", "generator.dtype=bfloat16")
    assert isinstance(made, openvino.OpenVINO)
    assert (made.name, made.model, made.max_new_tokens) == ("smollm2", "smollm2", 7)
    assert (made.dtype, made.kv_dtype, made.weights) == ("bfloat16", "bfloat16", "float16")
    assert made.describe()["chosen"] == "generator.engine=auto: openvino computes"
    assert chosen("generator.engine=openvino").describe()["chosen"].startswith("generator.engine=openvino")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("generator.dtype=int8", "generator.dtype=int8 is this project's decoder's"),
        ("generator.compile=true", "generator.compile=True is this project's decoder's"),
        ("generator.model=/a/folder", "generator.model=/a/folder: generator=openvino takes other models"),
        ("scheduling=shortest_prompt", "scheduling.name=shortest_prompt: it schedules by itself"),
        ("scheduling.slots=3", "scheduling.slots=3: it schedules by itself"),
    ],
)
def test_what_openvino_does_not_do_is_this_projects(override: str, reason: str) -> None:
    assert chosen(override).name == "smollm2"
    assert not isinstance(chosen(override), openvino.OpenVINO)
    with pytest.raises(UserError, match=f"^generator.engine=openvino: {reason}$"):
        chosen(override, "generator.engine=openvino")


def test_on_a_gpu_and_for_other_generators_there_is_no_choice() -> None:
    assert not isinstance(chosen(device="cuda"), openvino.OpenVINO)
    assert chosen(device="cuda").chosen == ""
    assert chosen("generator=random").name == "random"
    assert not isinstance(chosen("generator.engine=own"), openvino.OpenVINO)
    with pytest.raises(UserError, match=r"generator.engine=fast is none of auto, own, openvino"):
        chosen("generator.engine=fast")


def test_where_it_is_not_installed_one_line_says_so(there: pytest.MonkeyPatch) -> None:
    there.setattr(extras, "absent", lambda module: ABSENT)
    made = chosen()
    assert made.chosen.startswith("generator.engine=auto: this project's decoder computes")
    assert made.chosen.endswith(ABSENT)
    with pytest.raises(UserError, match=r"generator.engine=openvino: openvino_genai is not installed"):
        chosen("generator.engine=openvino")


def test_a_pipeline_has_what_was_chosen() -> None:
    made = configured.pipeline(composed("server=batch", "device=cpu"))
    assert isinstance(made.generator, openvino.OpenVINO)
