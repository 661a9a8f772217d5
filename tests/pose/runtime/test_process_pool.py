import os
import warnings

import pytest

from pose.files.reading import InputWarning
from pose.runtime.process_pool import map_in_processes
from worker_processes import doubtful, half, process_id, threads, workers_left


def test_results_are_in_the_order_of_the_items():
    assert list(map_in_processes(half, range(7), 2)) == [n / 2 for n in range(7)]


def test_results_come_as_they_are_finished():
    assert sorted(map_in_processes(half, range(5), 2, ordered=False)) == [0, 0.5, 1, 1.5, 2]


def test_an_error_of_a_task_is_raised():
    with pytest.raises(ValueError, match="must not be negative; got -1"):
        list(map_in_processes(half, [1, -1, 2], 2))


def test_no_items_start_no_process():
    assert list(map_in_processes(half, [], 4)) == []


def test_workers_compute_in_one_thread():
    assert list(map_in_processes(threads, [0, 1], 2)) == [1, 1]


def test_at_least_one_worker():
    with pytest.raises(ValueError, match="workers must be at least 1; got 0"):
        list(map_in_processes(half, [1], 0))


KILLED = """
import multiprocessing, os, signal, sys, time
from pose.runtime.process_pool import map_in_processes

def work(number):
    time.sleep(0 if number == 0 else 120)

if __name__ == "__main__":
    for _ in map_in_processes(work, [0, 1, 2], 2):
        workers = [child.pid for child in multiprocessing.active_children()]
        if sys.argv[1] == "forked" and os.fork() == 0:
            os.close(1)
            time.sleep(25)  # holds the pipes that tell of the parent's end
            os._exit(0)
        print(*workers, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("held", ["alone", "forked"])
def test_busy_workers_end_with_a_killed_parent(tmp_path, held):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    assert workers_left(script, held) == (2, 0)


@pytest.mark.parametrize("ordered", [True, False])
def test_input_warnings_of_tasks_are_raised_once_in_the_caller(capfd, ordered):
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        assert sorted(map_in_processes(doubtful, [1, 2, 1, 3], 2, ordered=ordered)) == [1, 1, 2, 3]
    assert sorted(str(each.message) for each in raised) == [
        "doubtful 1",
        "doubtful 2",
        "doubtful 3",
    ]
    assert {each.category for each in raised} == {InputWarning}
    error = capfd.readouterr().err
    assert "InputWarning" not in error
    assert "RuntimeWarning: of a task" in error  # others are as they were


def test_warning_filters_of_the_caller_apply_to_tasks():
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        with pytest.raises(InputWarning, match="doubtful 1"):
            list(map_in_processes(doubtful, [1], 1))


def test_workers_are_other_processes():
    assert os.getpid() not in set(map_in_processes(process_id, [0, 1], 2))
