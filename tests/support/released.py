"""The released networks as ComfyUI's workflow files name them, from the catalogue of downloads."""

from __future__ import annotations

from lavie.checkpoints.catalog import CATALOG

NETWORKS = {"base": "lavie_base", "interpolation": "lavie_interpolation", "upscaler": "lavie_vsr", "extension": "seine"}


def models(stage: str) -> list[dict[str, str]]:
    """`properties.models` of a loader of this stage."""
    release = CATALOG[NETWORKS[stage]]
    (file,) = release.files
    url = f"https://huggingface.co/{release.repo}/resolve/{release.revision or 'main'}/{file.path}"
    checksum = {"hash": file.sha256, "hash_type": "SHA256"} if file.sha256 else {}
    return [{"name": file.path, "url": url, "directory": "lavie", **checksum}]
