"""Forecasts of the time that stages take."""

from __future__ import annotations

import pytest

from og_reid.pipelines.forecast import Forecast


def test_a_forecast_is_measured_from_finished_work() -> None:
    now = [0.0]
    forecast = Forecast({"a": 10, "b": 30}, 2.0, lambda: now[0])
    assert forecast.note("a", 0, 5) == "about 80 seconds left"
    now[0] = 1.0
    assert forecast.note("a", 1, 1000) == "about 80 seconds left"  # too little to measure by
    now[0] = 30.0
    assert forecast.note("a", 5, 5) == "about 2 minutes left"
    assert forecast.seconds() == 90
    forecast.note("b", 0, 2)
    now[0] = 200.0
    assert forecast.note("b", 1, 2) == "about 2 minutes left"
    assert forecast.note("c", 1, 2) == "about 2 minutes left"  # no stage of the task


def test_a_forecast_excludes_the_work_of_an_earlier_run() -> None:
    now = [0.0]
    forecast = Forecast({"a": 100, "b": 20}, 1.0, lambda: now[0])
    forecast.note("a", 90, 100)
    assert forecast.seconds() == 30
    now[0] = 20.0
    forecast.note("a", 100, 100)
    assert forecast.seconds() == pytest.approx(40)  # 10 took 20 seconds
