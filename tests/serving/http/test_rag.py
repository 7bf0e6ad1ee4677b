from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlsys.serving.http import schema
from mlsys.serving.http.rag import Rag


def test_what_was_said_before_a_question_reaches_the_prompt_and_a_balancers_replicas() -> None:
    said = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "He."}]
    asked = schema.question(100, 20)
    form = Rag(asked.model_validate({"query": "And why?", "messages": said}))
    assert list(form.request(None).begin().messages) == said
    assert form.sent()["messages"] == said
    assert Rag(asked.model_validate({"query": "Why?"})).sent() == {"query": "Why?", "k": 2}
    with pytest.raises(ValidationError):
        asked.model_validate({"query": "x", "messages": [{"role": "system", "content": "y"}]})
