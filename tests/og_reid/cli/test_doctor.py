"""The report on an installation names what is there and what is wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from meshes.rasterizer import raster_info
from og_reid.ops import native_info
from og_reid.pipelines import doctor
from og_reid.pipelines.doctor import CheckResult, run_checks


def by_name(findings: tuple[CheckResult, ...]) -> dict[str, CheckResult]:
    return {finding.name: finding for finding in findings}


def test_doctor_lists_versions_and_packages() -> None:
    findings = by_name(run_checks())
    assert findings["torch"].value == torch.__version__
    assert findings["torch"].good
    library = native_info()["cpu_library"]
    assert findings["cpu library"].good == (library is not None)
    if library is not None:
        assert findings["cpu library"].value == library
        assert findings["instruction set"].value == native_info()["cpu_level"]
        assert findings["operators"].good
    assert str(CheckResult("native", "a", "b", hint="c")) == "a: b (c)"


def test_missing_packages_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    findings = by_name(run_checks())
    assert not findings["numpy"].good
    assert findings["numpy"].hint == "pip install numpy"
    assert findings["mediapipe"].good  # optional
    assert "demo" in findings["mediapipe"].hint


def test_a_missing_native_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = dict.fromkeys(native_info())
    monkeypatch.setattr(doctor, "native_info", lambda: nothing)
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    monkeypatch.setattr(doctor, "raster_info", lambda: dict.fromkeys(raster_info()))
    for name in ("cpu library", "rasteriser"):
        finding = by_name(run_checks())[name]
        assert not finding.good
        assert "pip install ." in finding.hint
    monkeypatch.setenv("OG_REID_NATIVE", "0")
    for name in ("cpu library", "rasteriser"):
        assert "switched off" in by_name(run_checks())[name].value


def test_a_gpu_and_its_library_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(name="A100", total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: found)
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    info = {**native_info(), "cuda_library": None}
    monkeypatch.setattr(doctor, "native_info", lambda: info)
    findings = by_name(run_checks())
    assert findings["cuda:0"].value == "A100, 80 GiB"
    assert (
        str(findings["cuda library"])
        == "cuda library: not built (install nvcc, then: pip install .)"
    )
    assert not findings["cuda library"].good
    info["cuda_library"] = "og_reid/_cuda.so"
    assert by_name(run_checks())["cuda library"] == CheckResult(
        "native", "cuda library", "og_reid/_cuda.so"
    )
    info["cuda_library"] = None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert by_name(run_checks())["cuda library"].good  # nothing is missing without a GPU


def test_operators_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if native_info()["cpu_library"] is None:
        pytest.skip("no native library here")
    monkeypatch.setattr(doctor, "knn_torch", lambda x, k: torch.zeros(1))
    finding = by_name(run_checks())["operators"]
    assert not finding.good
    assert "OG_REID_NATIVE=0" in finding.hint


def test_the_heavy_pose_model_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    finding = by_name(run_checks())["pose model heavy"]
    assert finding.good
    assert finding.value == "missing"
    assert f"mkdir -p {tmp_path / 'og-reid'} && cd" in finding.hint
    assert "npm pack @mediapipe/pose" in finding.hint
    path = tmp_path / "og-reid" / "pose_landmark_heavy.tflite"
    path.parent.mkdir()
    path.write_bytes(b"model")
    finding = by_name(run_checks())["pose model heavy"]
    assert not finding.good
    assert "27,709,200 bytes" in finding.value
