"""One function to look at clouds, bodies and keypoints: window, image, movie, page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pose.files.atomic_write import atomic_write

from .items import Viewable, as_items
from .looks import Look
from .movies import write_gif, write_mp4, write_png
from .scene import scene_image, turntable
from .viewer import page_bytes, viewer_page
from .window import open_window

__all__ = ["view"]


def view(
    items: Viewable | Iterable[Viewable],
    *,
    names: Sequence[str] | None = None,
    look: Look | None = None,
    title: str = "og_reid",
    png: str | Path | None = None,
    gif: str | Path | None = None,
    mp4: str | Path | None = None,
    html: str | Path | None = None,
    most_megabytes: float = 100.0,
) -> None:
    """Look at point clouds, fitted bodies, lifts or keypoints, side by side.

    Without a file, opens a window (Open3D) and returns when it is closed. Images, movies and pages
    need no display and no GPU. A page is one file that a browser opens without a network: points
    and body, orbit by mouse, touch and keys, colourings, light and dark, screenshots.

    Args:
        items: one or several point clouds, lifts, fitted bodies, keypoints, or `ViewItem` for
            names, skeletons, images and contributions.
        names: text of each item's label.
        look: colouring, direction and size, see `Look`.
        title: title of window and page.
        png: image to write.
        gif: turntable to write.
        mp4: turntable to write, by imageio-ffmpeg or OpenCV.
        html: interactive page to write.
        most_megabytes: largest page that is written, 10^6 bytes.

    Raises:
        ValueError: nothing to view, an empty cloud, a colouring that an item does not support, or
            a page larger than ``most_megabytes``, before anything is written.
        RuntimeError: a window without a display.
        ImportError: a package of the window or of the movie is missing.
        OSError: a file cannot be written.
    """
    shown = as_items(items, names)
    look = look or Look()
    if html is not None:
        size = page_bytes(shown) / 1e6
        if size > most_megabytes:
            raise ValueError(
                f"a page of {len(shown):,} items with {sum(len(i.cloud) for i in shown):,} points "
                f"would have {size:,.0f} MB: give fewer, or allow it by most_megabytes "
                f"({most_megabytes:g} now; --most-megabytes on the command line)"
            )
    if png is not None:
        write_png(png, scene_image(shown, look))
    if gif is not None:
        write_gif(gif, turntable(shown, look))
    if mp4 is not None:
        write_mp4(mp4, turntable(shown, look, frames=72), seconds=0.05)
    if html is not None:
        page = viewer_page(shown, look, title=title)
        with atomic_write(html) as partial:
            partial.write_text(page, encoding="utf-8")
    if png is gif is mp4 is html is None:
        open_window(shown, look, title=title)
