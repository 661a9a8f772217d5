"""Graphs of mediapipe: loaded once, run by one thread at a time, refused in forked children."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

import numpy as np

from ..runtime.forks import NativeUse

__all__ = ["INSTALL", "NativeGraph"]

T = TypeVar("T")

#: Advice in messages where mediapipe is missing.
INSTALL = "install it with: pip install 'og-reid[demo]' (it brings mediapipe 0.10.21)"
_QUIET_ENV = {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3"}
_OPENCV_ENV = ("LD_LIBRARY_PATH", "QT_QPA_FONTDIR", "QT_QPA_PLATFORM_PLUGIN_PATH")
_NATIVE_LINE = re.compile(
    rb"[IWEF]\d{4} \d\d:|INFO: (Created|Initialized) TensorFlow Lite|"
    rb"WARNING: (All log messages|Logging) before"
)
_use = NativeUse("mediapipe")
# Models are loaded one at a time: meanwhile the environment and stderr of the process are changed.
_loading = threading.RLock()
os.register_at_fork(
    before=_loading.acquire,
    after_in_parent=_loading.release,
    after_in_child=_loading.release,
)


class NativeGraph:
    """Graph that is loaded at its first run and kept; all graphs share the guards of this module.

    Threads may share it: it runs one image at a time. A graph that failed is loaded again at the
    next run, as it would fail for ever. During loading and first run, lines that native code writes
    to the process's stderr are left out.

    Args:
        load: constructor of the graph.

    Attributes:
        model: result of ``load``; None before the first run and after `close`.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self.model: Any = None
        self._load = load
        self._warm = False
        self._lock = threading.Lock()

    def run(self, look: Callable[[Any, np.ndarray], T], image: np.ndarray) -> T:
        """Result of the graph on an image.

        Args:
            look: function of model and image; its result must not share the model's memory.
            image: (H, W, 3) uint8 RGB.

        Raises:
            RuntimeError: native code ran before this process was forked.
            ImportError: a package is missing.
        """
        _use.begin()  # before the lock, which a thread of the parent may hold for ever
        with self._lock:
            try:
                return self._run(look, image)
            except BaseException:
                with contextlib.suppress(Exception):  # it may fail once more
                    self._close()
                raise

    def close(self) -> None:
        """Free the model; the next run loads it again."""
        if _use.forked:  # a thread of the parent may hold the lock for ever
            self._close()
            return
        with self._lock:
            self._close()

    def _run(self, look: Callable[[Any, np.ndarray], T], image: np.ndarray) -> T:
        if self._warm and self.model is not None:
            return look(self.model, image)
        with _loading, _quiet_native_logs():
            if self.model is None:
                self.model = self._load()
            result = look(self.model, image)
        self._warm = True
        return result

    def _close(self) -> None:
        model, self.model, self._warm = self.model, None, False
        if model is not None and not _use.forked:  # in a child it would wait for ever
            model.close()


@contextlib.contextmanager
def _quiet_native_logs() -> Iterator[None]:
    """Silences glog, absl and TensorFlow Lite; restores environment and stderr afterwards.

    The restored environment includes the library paths that the import of OpenCV (by mediapipe)
    sets, which programs started later would take.
    """
    before = dict(os.environ)
    os.environ.update({key: value for key, value in _QUIET_ENV.items() if key not in before})
    try:
        with _muted_stderr():
            yield
    finally:
        for key in (*_QUIET_ENV, *_OPENCV_ENV):
            if key in before:
                os.environ[key] = before[key]
            else:
                os.environ.pop(key, None)


@contextlib.contextmanager
def _muted_stderr() -> Iterator[None]:
    """Captures stderr; writes all but native logs to it afterwards."""
    # absl writes to file descriptor 2 before its log level can be set, so only this helps.
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to mute
        yield
        return
    try:
        with _sink() as sink:
            os.dup2(sink.fileno(), 2)
            try:
                yield
            finally:
                if sys.stderr is not None:
                    sys.stderr.flush()
                os.dup2(saved, 2)
                sink.seek(0)
                _pass_on(sink.read())
    finally:
        os.close(saved)


def _pass_on(written: bytes) -> None:
    lines = written.splitlines(keepends=True)
    others = b"".join(line for line in lines if not _NATIVE_LINE.match(line))
    with contextlib.suppress(OSError):  # a pipe that is not read any more
        while others:
            others = others[os.write(2, others) :]


def _sink() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no folder that can be written to
        return open(os.devnull, "r+b")
