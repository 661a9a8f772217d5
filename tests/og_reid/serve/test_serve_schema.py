"""Requests drawn from the OpenAPI description, valid and invalid: no answer is a 5xx."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("httpx")
pytest.importorskip("lancedb")
pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from running_service import fill, person, running

OPERATIONS = 10


def test_no_request_of_the_description_fails(tmp_path: Path) -> None:
    from schemathesis.checks import not_a_server_error

    with running(tmp_path / "gallery", max_batch_images=20) as service:
        fill(service, 2)
        image = person(1)
        schema = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
        seen = []
        for result in schema.get_all_operations():
            operation = result.ok()
            seen.append(operation.path)

            @given(case=operation.as_strategy())
            @settings(
                max_examples=12, deadline=None, database=None, derandomize=True,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            def check(case: object) -> None:
                body = getattr(case, "body", None)
                answer = case.call()  # type: ignore[attr-defined]
                case.validate_response(answer, checks=[not_a_server_error])  # type: ignore[attr-defined]
                if isinstance(body, dict) and "image" in body:  # the same with a readable image
                    several = isinstance(body["image"], list)
                    case.body = {**body, "image": [image] if several else image}  # type: ignore[attr-defined]
                    answer = case.call()  # type: ignore[attr-defined]
                    case.validate_response(answer, checks=[not_a_server_error])  # type: ignore[attr-defined]

            check()
        assert len(seen) == OPERATIONS
        assert all(each.get("status", 0) < 500 for each in service.lines)
        assert {each["route"] for each in service.lines if "route" in each} >= set(seen)
