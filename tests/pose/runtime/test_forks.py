import os
import signal
import threading

from pose.runtime.forks import ForkSafeLock


def test_a_lock_held_by_a_thread_of_the_parent_is_free_in_a_child():
    lock, held, done = ForkSafeLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it where it waits for ever
        with lock:
            os._exit(7)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    finally:
        done.set()
        thread.join()


def test_a_lock_excludes_other_threads_and_admits_its_own():
    lock, inside, most = ForkSafeLock(), [], []

    def enter() -> None:
        for _ in range(200):
            with lock, lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert max(most) == 1
