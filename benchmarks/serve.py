"""Load of the service on this machine: mixed search, enrolment and forgetting; memory, failures.

Clients ask one after the other without a pause: of ten requests seven search, two enrol, one
forgets what was enrolled, so that the number of items stays. The service is a process of its own;
its memory is read from /proc.

    OMP_NUM_THREADS=1 python benchmarks/serve.py --minutes 30
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from dataclasses import replace

from meshes.world import draw_camera, render, sample_scene

PEOPLE, ITEMS = 24, 200


def main() -> None:
    """Runs the load, and prints its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    images = [picture(number) for number in range(PEOPLE)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "og_reid.cli", "serve", f"{folder}/gallery",
                   "--port", str(given.port), "--requests-per-minute", "1e6"]  # fmt: skip
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
        with open(f"{folder}/log", "w+") as log:
            process = subprocess.Popen(command, stderr=log, env=environment)
            try:
                run(process.pid, given, images)
            finally:
                process.send_signal(signal.SIGTERM)
                code = process.wait(60)
            log.seek(0)
            lines = [json.loads(line) for line in log if line.startswith("{")]
        errors = [line for line in lines if line["status"] >= 400]
        print(f"log: {len(lines):,} requests, {len(errors)} refused; exit status {code}")


def run(pid: int, given: argparse.Namespace, images: list[np.ndarray]) -> None:
    """Fills the gallery, loads the service, prints a line a tenth of the time."""
    address = f"http://127.0.0.1:{given.port}"
    with httpx.Client(base_url=address, timeout=120) as client:
        for _ in range(600):
            try:
                client.get("/health")
                break
            except httpx.TransportError:
                time.sleep(0.2)
        rng = np.random.default_rng(0)
        for start in range(0, ITEMS, 20):
            files = [("image", ("a.png", varied(images, rng))) for _ in range(20)]
            client.post("/items", files=files).raise_for_status()
            print(f"\renrolled {start + 20}", end="", file=sys.stderr)
        end = time.monotonic() + 60 * given.minutes
        outcome: Counter[str] = Counter()
        seconds: dict[str, list[float]] = {"search": [], "enrol": [], "forget": []}
        threads = [
            threading.Thread(target=ask, args=(address, number, end, images, outcome, seconds))
            for number in range(given.clients)
        ]
        for each in threads:
            each.start()
        memory = []
        for tenth in range(1, 11):
            time.sleep(max(0.0, end - 60 * given.minutes * (1 - tenth / 10) - time.monotonic()))
            memory.append(resident(pid))
            done = sum(map(len, seconds.values()))
            items = client.get("/stats").json()["items"]
            minutes = tenth * given.minutes / 10
            print(f"{minutes:6.1f} min  {memory[-1]:6.0f} MB  {done:7,} requests  {items} items",
                  flush=True)  # fmt: skip
        for each in threads:
            each.join()
    for name, values in seconds.items():
        if values:
            low, middle, high = np.percentile(values, [50, 95, 99]) * 1000
            print(f"{name:7} {len(values):7,}  median {low:6.0f} ms, 95 % {middle:6.0f} ms, "
                  f"99 % {high:6.0f} ms")  # fmt: skip
    failed = {name: count for name, count in outcome.items() if name != "200"}
    slope = np.polyfit(np.linspace(0.1, 1, 10)[2:] * given.minutes, memory[2:], 1)[0]
    print(f"failed requests: {failed or 0}; memory {min(memory[2:]):.0f} to {max(memory[2:]):.0f} "
          f"MB after the first fifth, {slope:+.2f} MB a minute")  # fmt: skip


def ask(
    address: str, number: int, end: float, images: list[np.ndarray], outcome: Counter[str],
    seconds: dict[str, list[float]],
) -> None:  # fmt: skip
    """One client, until the end."""
    rng = np.random.default_rng(number + 1)
    mine: list[str] = []
    with httpx.Client(base_url=address, timeout=120) as client:
        turn = 0
        while time.monotonic() < end:
            kind = ("search", "search", "enrol", "search", "search", "enrol", "search", "search",
                    "search", "forget")[turn % 10]  # fmt: skip
            turn += 1
            start = time.perf_counter()
            try:
                if kind == "forget":
                    answers = [client.post("/forget", json={"item": each}) for each in mine]
                    mine = []
                else:
                    path = "/search" if kind == "search" else "/items"
                    answers = [client.post(path, files={"image": varied(images, rng)})]
                    if kind == "enrol" and answers[0].status_code == 200:
                        mine += answers[0].json()["ids"]
                for each in answers:
                    outcome[str(each.status_code)] += 1
            except httpx.HTTPError as error:
                outcome[type(error).__name__] += 1
                answers = []
            seconds[kind].append((time.perf_counter() - start) / max(1, len(answers)))


def picture(person: int) -> np.ndarray:
    """(256, 128, 3) image of a synthetic person."""
    generator = torch.Generator().manual_seed(person)
    scene = replace(sample_scene(person, draw_camera(0, person), generator), behind=())
    return render(scene).image.numpy()


def varied(images: list[np.ndarray], rng: np.random.Generator) -> bytes:
    """JPEG of one of the images with another brightness."""
    image = images[rng.integers(len(images))] * rng.uniform(0.7, 1.2)
    buffer = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def resident(pid: int) -> float:
    """Resident memory of a process, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
