"""Opens the source that a user names."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from ..registry import registered_sources
from .decode import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from .filters import Filters
from .folder import ImageFolder, VideoFolder
from .shards import Shards, is_address
from .source import ClipSource
from .table import ImageTable, VideoTable, lists_images


def open_source(
    spec: str,
    filters: Filters = Filters(),  # noqa: B008 (frozen)
    images: bool = False,
    cut_scenes: bool = False,
    cache: Path | None = None,
    found: Path | None = None,
) -> ClipSource:
    """The source that a spec names; its `name` is the spec.

    spec: a folder, a .csv table, tar files (a path or http(s) address, with `{0000..0041}` or `*`), or a
    registered kind. images: whether images are wanted; videos then give single frames. cut_scenes: every scene of a
    video is a row. cache: folder for downloaded shards (default: `runs/shards`). found: folder that remembers what was
    learned about videos (default: `cache`). Both are created when needed.

    Raises:
        UsageError: nothing there, of the wrong kind, or nothing usable in it.
    """
    source, holds_images = _opened(spec, filters, images, cut_scenes, cache, found or cache)
    if holds_images and not images:
        raise UsageError(f"'{spec}' holds images, and videos are wanted there.")
    return source


def _opened(
    spec: str, filters: Filters, images: bool, cut_scenes: bool, cache: Path | None, found: Path | None
) -> tuple[ClipSource, bool]:
    """The source, and whether it holds only images."""
    registered = registered_sources().get(spec.split(":")[0])
    if registered is not None:
        return registered(spec)
    if _names_shards(spec):
        shards = Shards(spec, filters, cache or Path("runs/shards"), name=spec)
        return shards, shards.holds_images()
    path = Path(spec)
    of_videos = {"filters": filters, "cut_scenes": cut_scenes, "name": spec}
    if found is not None:
        of_videos["cache"] = found / "videos.json"
    if path.suffix.lower() == ".csv":
        if lists_images(path):
            return ImageTable(path, filters, name=spec), True
        return VideoTable(path, **of_videos), False
    check_spec(spec)
    if _is_of_images(path, images):
        return ImageFolder(path, filters, name=spec), True
    return VideoFolder(path, **of_videos), False


def check_spec(spec: str) -> None:
    """Refuse a spec that names nothing, before anything is opened.

    Raises:
        UsageError: there is no such kind of source.
    """
    path = Path(spec)
    if spec.split(":")[0] in registered_sources() or _names_shards(spec):
        return
    if not path.is_dir() and path.suffix.lower() != ".csv":
        raise UsageError(_unknown(spec))


def _names_shards(spec: str) -> bool:
    return spec.lower().endswith((".tar", "}")) or is_address(spec)


def _unknown(spec: str) -> str:
    if spec.split(":")[0].split("-")[0] == "world":
        return f"'{spec}' is rendered by the lab, which only a checkout has: run `python -m lab train` there."
    others = "".join(f", and not '{kind}:…'" for kind in registered_sources())
    return f"'{spec}' is no folder, no .csv table, no .tar file{others}."


def _is_of_images(folder: Path, wanted: bool) -> bool:
    """Whether a folder holds images and no videos, or both when images are wanted."""
    suffixes = {path.suffix.lower() for path in folder.rglob("*")}
    videos, images = bool(suffixes & set(VIDEO_SUFFIXES)), bool(suffixes & set(IMAGE_SUFFIXES))
    return images and (wanted or not videos)
