"""Decoding of uploaded images in a process of its own, with limits of time and memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import IO

import numpy as np

from .decoding_process import REPLY, REQUEST
from .settings import ServeSettings

__all__ = ["DecodingWorker", "UndecodableImageError"]

#: Longest side of decoded images, pixels: more than any model sees.
_LONGEST = 1600
_START_SECONDS = 60.0


class UndecodableImageError(ValueError):
    """Image that is refused.

    Attributes:
        status: Status code of HTTP: 413 too large, 422 damaged or of another format.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class DecodingWorker:
    """Process that decodes one image at a time; another one follows a process that is ended.

    Args:
        settings: Limits.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        #: Processes ended for their time, or that ended by themselves.
        self.lost = 0

    def start(self) -> None:
        """Starts the process, so that the first image does not wait for it.

        Raises:
            RuntimeError: It does not start.
        """
        with self._lock:
            process = self._running()
            try:
                # An empty file: the process answers when its imports are done.
                reply = self._asked(process, b"", _START_SECONDS)
            except UndecodableImageError:
                reply = None
            if reply is None:
                raise RuntimeError("the process that decodes images does not start")

    def decode(self, content: bytes) -> np.ndarray:
        """(H, W, 3) uint8 RGB of an image file.

        Args:
            content: The file.

        Raises:
            UndecodableImageError: The image is damaged, of another format, or exceeds a limit.
        """
        limits = self._settings
        if len(content) > limits.max_image_bytes:
            raise UndecodableImageError(
                413, f"image must have at most {limits.max_image_bytes / 1e6:.1f} MB"
            )
        with self._lock:
            starting = self._process is None or self._process.poll() is not None
            process = self._running()
            if starting:  # its imports do not count
                self._asked(process, b"", _START_SECONDS)
            status, data, shape = self._asked(process, content, limits.decode_seconds)
        if status:
            raise UndecodableImageError(status, data.decode("utf-8", "replace"))
        return np.frombuffer(data, np.uint8).reshape(*shape, 3)

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._closed = True
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise UndecodableImageError(422, "the service stops")
        if self._process is None or self._process.poll() is not None:
            self._end()
            command = [sys.executable, "-m", __name__ + "_process"]
            self._process = subprocess.Popen(
                [*command, str(self._settings.decode_megabytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        return self._process

    def _asked(
        self, process: subprocess.Popen[bytes], content: bytes, seconds: float
    ) -> tuple[int, bytes, tuple[int, int]]:
        """Status, pixels or reason, and shape; a process that is late is killed."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            limits = self._settings
            header = REQUEST.pack(len(content), limits.max_pixels, _LONGEST)
            process.stdin.write(header + content)
            process.stdin.flush()
            status, first, second = REPLY.unpack(_exactly(process.stdout, REPLY.size))
            data = _exactly(process.stdout, first if status else 3 * first * second)
        except (OSError, EOFError) as error:
            self.lost += 1
            self._end()
            reason = (
                f"the image takes more than {self._settings.decode_seconds:g} s to decode"
                if late.is_set()
                else "the image cannot be decoded: the decoder ended"
            )
            raise UndecodableImageError(422, reason) from error
        finally:
            timer.cancel()
        return status, data, (first, second)

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was not written yet is lost with the process
                    continue
        self._process = None


def _exactly(stream: IO[bytes], count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise EOFError
    return found
