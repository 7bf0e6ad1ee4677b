"""schemathesis against the OpenAPI document: whatever is sent, the answer is one that the document
announces.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

Operation = APIOperation[Any, Any, Any, Any]
PATHS = {"/rag", "/rag/jobs", "/rag/jobs/{job_id}", "/health", "/ready", "/metrics", "/stats"}


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
        if mode == GenerationMode.NEGATIVE and operation.path not in {"/rag", "/rag/jobs"}:
            continue

        @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Case[Operation]) -> None:
            response = case.call(timeout=300)
            case.validate_response(response, excluded_checks=[schemathesis.checks.not_a_server_error])
            assert response.status_code < 500 or response.status_code == 504, (
                "504: its own timeout_ms was short"
            )

        check()
