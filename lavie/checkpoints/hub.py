"""What the hub says of a file before it is fetched."""

from __future__ import annotations

from dataclasses import dataclass

from .catalog import RemoteFile, Source


class NotThereError(Exception):
    """A source does not have a file as it should be; says why, in words that follow the source's name."""


@dataclass(frozen=True)
class Record:
    """checksum: SHA-256, or the Git blob id of a small file; empty if the hub gives none."""

    commit: str
    size: int
    checksum: str


class Hub:
    """A hub: that of `endpoint`, else of the environment variable HF_ENDPOINT, else huggingface.co."""

    def __init__(self, endpoint: str | None = None) -> None:
        from huggingface_hub import constants

        self._endpoint = endpoint
        self.address = (endpoint or constants.ENDPOINT).rstrip("/")

    def record(self, source: Source, file: RemoteFile) -> Record:
        """The hub's record of a file.

        Raises:
            NotThereError: it is gone, behind a licence, or another than the catalogue's. The client's errors, else.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.utils import (
            EntryNotFoundError,
            GatedRepoError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        url = hf_hub_url(source.repo, file.path, revision=source.revision or None, endpoint=self._endpoint)
        try:
            record = get_hf_file_metadata(url)
        except GatedRepoError as error:
            raise NotThereError("wants you to accept its licence on its page first, and `hf auth login`") from error
        except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
            if _is_offline(error):
                raise
            raise NotThereError(f"no longer has it ({first_line(error)})") from error
        checksum = record.etag or ""
        if file.size and record.size != file.size:
            raise NotThereError(f"now has one of {record.size} bytes, not {file.size}")
        if file.sha256 and len(checksum) == 64 and checksum != file.sha256:
            raise NotThereError(f"now has another (SHA-256 {checksum[:12]}…, not {file.sha256[:12]}…)")
        return Record(record.commit_hash or "main", record.size or 0, checksum)


def _is_offline(error: Exception) -> bool:
    """The client's "not in the local cache" is a kind of "no such entry", raised when it cannot connect."""
    from huggingface_hub.utils import LocalEntryNotFoundError

    return isinstance(error, LocalEntryNotFoundError)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its name if it has none."""
    return next(iter(str(error).strip().splitlines()), "")[:160].rstrip(".") or type(error).__name__
