"""schemathesis against the OpenAPI document: whatever is sent, the answer is one that the document
announces.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

Operation = APIOperation[Any, Any, Any, Any]
V1 = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/models/{model}"}
WATCHING = {"/health", "/ready", "/metrics", "/stats"}
PATHS = {"/rag", "/rag/jobs", "/rag/jobs/{job_id}", "/admin/reload", *WATCHING, *V1}
OTHERS = [schemathesis.checks.not_a_server_error]
# Nulls are as good as absent there, and a conversation's last message must be the user's: no schema says so.
FOR_OPENAI = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture(scope="module")
def operations(batch_url: str) -> list[Operation]:
    schema = schemathesis.openapi.from_url(f"{batch_url}/openapi.json")
    results = schema.get_all_operations()
    return [result.ok() for result in results if isinstance(result, Ok)]


def test_the_document_names_every_path(operations: list[Operation]) -> None:
    assert {operation.path for operation in operations} == PATHS


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_announced(operations: list[Operation], mode: GenerationMode) -> None:
    for operation in operations:
        if mode == GenerationMode.NEGATIVE and not operation.body:
            continue

        @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Case[Operation]) -> None:
            openai = case.path in V1
            if openai and isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
                case.body["model"] = "hashing" if case.path == "/v1/embeddings" else "rag"
            response = case.call(timeout=300)
            case.validate_response(response, excluded_checks=[*(FOR_OPENAI if openai else []), *OTHERS])
            assert response.status_code < 500 or response.status_code == 504, (
                "504: its own timeout_ms was short"
            )

        check()
