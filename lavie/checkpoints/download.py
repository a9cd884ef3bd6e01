"""Downloads the released files from huggingface.co: only what was asked for, resumable, checksums verified."""

from __future__ import annotations

import errno
import hashlib
import logging
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import LavieError
from .catalog import Release, RemoteFile, Source, licence_text, placement, releases
from .checksum import sha256
from .hub import Hub, NotThereError, first_line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pending:
    """A file to download. checksum: SHA-256, or the Git blob id of a small file; empty if the hub gives none."""

    release: Release
    source: Source
    file: RemoteFile
    commit: str
    size: int
    checksum: str


def download(
    names: Iterable[str],
    models: str | Path,
    agree: Callable[[str], bool] | bool = False,
    progress: bool = True,
    endpoint: str | None = None,
) -> list[Path]:
    """Download released files into a models folder; intact existing files are kept.

    What a file's first source no longer has, or has only changed, comes from its second.

    Args:
        names: of releases or groups in the catalogue: "lavie_base", …, "lavie" for the whole cascade, "all".
        models: the folder for the released family; created if needed.
        agree: gets the licences and returns whether the user accepts them; True accepts.
        progress: show a progress bar for every file.
        endpoint: another hub than the environment variable HF_ENDPOINT names, or https://huggingface.co.

    Returns:
        The paths of all files, including those already there.

    Raises:
        UsageError: an unknown name.
        LavieError: not accepted, no network (the message says what to place where), no disk space, a damaged file.
    """
    chosen, models = releases(names), Path(models)
    files = [(release, file) for release in chosen for file in release.files]
    places = [release.place(models, file) for release, file in files]
    missing = [each for each in files if not _is_known_and_sound(*each, models)]
    if not missing:
        return places
    if agree is not True and not (agree and agree(licence_text(chosen))):
        raise LavieError("Nothing was downloaded: the licences were not accepted (`--yes` accepts them).")
    hub = Hub(endpoint)
    with _explained(missing, models, hub):
        pending = [_ask(hub, release, file, models) for release, file in missing]
    pending = [each for each in pending if not _is_sound(each.release.place(models, each.file), each.checksum)]
    _require_space(models, sum(each.size for each in pending))
    with _progress_bars(progress):
        for each in pending:
            with _explained(missing, models, hub):
                _fetch(each, models, endpoint)
    return places


def _is_known_and_sound(release: Release, file: RemoteFile, models: Path) -> bool:
    place = release.place(models, file)
    return any(_is_sound(place, checksum) for checksum in release.checksums(file.path))


def _ask(hub: Hub, release: Release, file: RemoteFile, models: Path) -> _Pending:
    """The record of a file at the first of its sources that has it as it should be.

    Raises:
        LavieError: none has it; the message says what is wrong with each.
    """
    refused = []
    for source, wanted in release.sources(file.path):
        try:
            found = hub.record(source, wanted)
        except NotThereError as reason:
            refused.append(f"{source.repo} {reason}")
            continue
        if refused:
            log.warning("%s: %s. It comes from %s.", file.path, "; ".join(refused), source.repo)
        return _Pending(release, source, wanted, found.commit, found.size, wanted.sha256 or found.checksum)
    raise LavieError(
        f"{file.path} is nowhere to be had: {'; '.join(refused)}. If you find it elsewhere, put it here:\n"
        f"{placement([(release, file)], models, hub.address)}"
    )


def _fetch(each: _Pending, models: Path, endpoint: str | None) -> None:
    from huggingface_hub import hf_hub_download

    folder, place = models / each.release.folder, each.release.place(models, each.file)
    hf_hub_download(each.source.repo, each.file.path, revision=each.commit, local_dir=folder, endpoint=endpoint)
    if not _is_sound(place, each.checksum):
        place.unlink(missing_ok=True)
        raise LavieError(f"{place.name} arrived damaged: its checksum is wrong. It was removed; run the command again.")


def _is_sound(place: Path, checksum: str) -> bool:
    if not place.is_file():
        return False
    if len(checksum) == 64:
        return sha256(place) == checksum
    if len(checksum) == 40:
        content = place.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == checksum
    return True


def _require_space(models: Path, size: int) -> None:
    folder = next(folder for folder in (models.absolute(), *models.absolute().parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise LavieError(f"{models} has {free / 1e9:.1f} GB free, but the download needs {size / 1e9:.1f} GB.")


@contextmanager
def _explained(missing: list[tuple[Release, RemoteFile]], models: Path, hub: Hub) -> Generator[None]:
    """Turn errors of the hub's client, which differ from version to version, into sentences for users."""
    try:
        yield
    except LavieError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise LavieError(f"The disk of {models} is full; make room and run the command again.") from error
        raise LavieError(
            f"{hub.address.split('://')[-1]} could not be reached ({first_line(error)}). Run the command again to go "
            "on where it stopped, or fetch these files elsewhere and put them here:\n"
            f"{placement(missing, models, hub.address)}"
        ) from error


@contextmanager
def _progress_bars(shown: bool) -> Generator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
