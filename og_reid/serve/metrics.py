"""Counters of the service in Prometheus' text format, and the rate of each client."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping

__all__ = ["ClientRates", "Metrics"]

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MOST_CLIENTS = 10_000


class Metrics:
    """Requests by route, method and status; their durations by route."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._started = time.time()
        self.running = 0

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts a request.

        Args:
            route: Path of its route: a fixed set, not what clients send.
            method: Method of HTTP, likewise.
            status: Status code.
            seconds: Duration.
        """
        with self._lock:
            self._requests[route, method, status] += 1
            self._sums[route] += seconds
            for bound in (*_SECONDS, float("inf")):
                if seconds <= bound:
                    self._buckets[route, bound] += 1

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Metrics as text.

        Args:
            gauges: Name -> (explanation, value) of further numbers.
        """
        with self._lock:
            requests = sorted(self._requests.items())
            buckets, sums = dict(self._buckets), dict(self._sums)
        lines = [
            "# HELP og_reid_requests_total Requests by route, method and status.",
            "# TYPE og_reid_requests_total counter",
        ]
        for (route, method, status), count in requests:
            labels = f'route="{route}",method="{method}",status="{status}"'
            lines.append(f"og_reid_requests_total{{{labels}}} {count}")
        name = "og_reid_request_seconds"
        lines += [f"# HELP {name} Duration of requests.", f"# TYPE {name} histogram"]
        for route in sorted(sums):
            for bound in (*_SECONDS, float("inf")):
                text = "+Inf" if bound == float("inf") else f"{bound:g}"
                count = buckets.get((route, bound), 0)
                lines.append(f'{name}_bucket{{route="{route}",le="{text}"}} {count}')
            lines.append(f'{name}_sum{{route="{route}"}} {sums[route]:.6f}')
            count = buckets[route, float("inf")]
            lines.append(f'{name}_count{{route="{route}"}} {count}')
        own = {
            "og_reid_requests_running": ("Requests that run.", float(self.running)),
            "og_reid_start_time_seconds": ("Start of the service.", self._started),
        }
        for gauge, (explanation, value) in {**own, **gauges}.items():
            lines += [f"# HELP {gauge} {explanation}", f"# TYPE {gauge} gauge"]
            lines.append(f"{gauge} {value:.15g}")
        return "\n".join(lines) + "\n"


class ClientRates:
    """Token buckets of clients.

    Args:
        per_minute: Requests a minute; half of them may come at once.
        clock: Seconds, monotonic.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most = per_minute / 60, max(1.0, per_minute / 2)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds that a client has to wait; 0 for a request that is admitted.

        Args:
            client: Its address.
        """
        now = self._clock()
        left, at = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        admitted = left >= 1
        self._buckets[client] = (left - admitted, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if admitted else (1 - left) / self._rate
