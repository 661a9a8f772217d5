"""The report on an installation names what is there and what is wrong."""

from __future__ import annotations

import pytest
import torch

from og_reid import doctor
from og_reid.doctor import Finding, examine
from og_reid.ops import native_info


def by_name(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_it_names_what_is_there() -> None:
    findings = by_name(examine())
    assert findings["torch"].value == torch.__version__
    assert findings["torch"].good
    library = native_info()["cpu_library"]
    assert findings["cpu library"].good == (library is not None)
    if library is not None:
        assert findings["cpu library"].value == library
        assert findings["instruction set"].value == native_info()["cpu_level"]
        assert findings["operators"].good
    assert str(Finding("native", "a", "b", hint="c")) == "a: b (c)"


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    findings = by_name(examine())
    assert not findings["numpy"].good
    assert findings["numpy"].hint == "pip install numpy"
    assert findings["mediapipe"].good  # optional
    assert "demo" in findings["mediapipe"].hint


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = dict.fromkeys(native_info())
    monkeypatch.setattr(doctor, "native_info", lambda: nothing)
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    finding = by_name(examine())["cpu library"]
    assert not finding.good
    assert "pip install ." in finding.hint
    monkeypatch.setenv("OG_REID_NATIVE", "0")
    assert "switched off" in by_name(examine())["cpu library"].value


def test_operators_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if native_info()["cpu_library"] is None:
        pytest.skip("no native library here")
    monkeypatch.setattr(doctor, "knn_torch", lambda x, k: torch.zeros(1))
    finding = by_name(examine())["operators"]
    assert not finding.good
    assert "OG_REID_NATIVE=0" in finding.hint
