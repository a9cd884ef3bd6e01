"""Downloads the released files from huggingface.co: only what was asked for, resumable, checksums verified."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import LavieError
from .catalog import Release, RemoteFile, licence_text, placement, releases
from .checksum import sha256


@dataclass(frozen=True)
class _Pending:
    """A file to download. checksum: SHA-256, or the Git blob id of a small file; empty if the hub gives none."""

    release: Release
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

    Args:
        names: of releases or groups in the catalogue: "lavie_base", …, "lavie" for the whole cascade, "all".
        models: the folder for the released family; created if needed.
        agree: gets the licences and returns whether the user accepts them; True accepts.
        progress: show a progress bar for every file.
        endpoint: another hub than https://huggingface.co.

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
    with _explained(missing, models):
        pending = [_ask_hub(release, file, endpoint) for release, file in missing]
    pending = [each for each in pending if not _is_sound(each.release.place(models, each.file), each.checksum)]
    _require_space(models, sum(each.size for each in pending))
    with _progress_bars(progress):
        for each in pending:
            with _explained(missing, models):
                _fetch(each, models, endpoint)
    return places


def _is_known_and_sound(release: Release, file: RemoteFile, models: Path) -> bool:
    return bool(file.sha256) and _is_sound(release.place(models, file), file.sha256)


def _ask_hub(release: Release, file: RemoteFile, endpoint: str | None) -> _Pending:
    """The hub's record of a file; refuses a file that differs from the catalogue's."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(release.repo, file.path, revision=release.revision or None, endpoint=endpoint)
    record = get_hf_file_metadata(url)
    etag = record.etag or ""
    if file.size and record.size != file.size:
        size = f"{record.size} bytes, not {file.size}"
        raise LavieError(f"{release.repo} now has a {file.path} of {size}, so it was not fetched.")
    if file.sha256 and len(etag) == 64 and etag != file.sha256:
        raise LavieError(
            f"{release.repo} now has another {file.path} (SHA-256 {etag[:12]}…) than LaVie knows "
            f"({file.sha256[:12]}…), so it was not fetched. If you trust it, get it from {release.page} yourself."
        )
    return _Pending(release, file, record.commit_hash or "main", record.size or 0, file.sha256 or etag)


def _fetch(each: _Pending, models: Path, endpoint: str | None) -> None:
    from huggingface_hub import hf_hub_download

    folder, place = models / each.release.folder, each.release.place(models, each.file)
    hf_hub_download(each.release.repo, each.file.path, revision=each.commit, local_dir=folder, endpoint=endpoint)
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
def _explained(missing: list[tuple[Release, RemoteFile]], models: Path) -> Generator[None]:
    """Turn errors of the hub's client, which differ from version to version, into sentences for users."""
    from huggingface_hub.utils import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except LavieError:
        raise
    except GatedRepoError as error:
        raise LavieError("The hub wants you to accept the licence on the page first, and `hf auth login`.") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        if not _is_offline(error):
            raise LavieError(f"The hub no longer has a file: {_first_line(error)}.") from error
        raise LavieError(_by_hand(missing, models, error)) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise LavieError(f"The disk of {models} is full; make room and run the command again.") from error
        raise LavieError(_by_hand(missing, models, error)) from error


def _is_offline(error: Exception) -> bool:
    """The client's "not in the local cache" is a kind of "no such entry", raised when it cannot connect."""
    from huggingface_hub.utils import LocalEntryNotFoundError

    return isinstance(error, LocalEntryNotFoundError)


def _by_hand(missing: list[tuple[Release, RemoteFile]], models: Path, error: Exception) -> str:
    return (
        f"huggingface.co could not be reached ({_first_line(error)}). Run the command again to go on where it "
        f"stopped, or fetch these files elsewhere and put them here:\n{placement(missing, models)}"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:160].rstrip(".") or type(error).__name__


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
