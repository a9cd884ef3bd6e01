"""The released files: what they are, where they come from, under which licence, and where they go.

Sizes and checksums are those that huggingface.co published when this was written. If one is missing, the hub's record
at the time of the download is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError


@dataclass(frozen=True)
class Licence:
    name: str
    url: str
    note: str


@dataclass(frozen=True)
class RemoteFile:
    """path: in the repository; size: bytes, 0 if unknown; sha256: empty if unknown."""

    path: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Release:
    """One item to download.

    name: as the user writes it. repo: on huggingface.co; revision: its commit, empty if that is not known. folder:
    where the files go, below the models folder and under their paths in the repository; empty for that folder itself.
    """

    name: str
    title: str
    repo: str
    files: tuple[RemoteFile, ...]
    licence: Licence
    folder: str = ""
    revision: str = ""

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.repo}/tree/{self.revision or 'main'}"

    @property
    def size(self) -> int:
        """Bytes, as far as known; configs and tokenizers are not counted."""
        return sum(file.size for file in self.files)

    def place(self, models: Path, file: RemoteFile) -> Path:
        return models / self.folder / file.path


_WEIGHTS_NOTE = (
    "Code under Apache-2.0; weights open for research and free for commercial use (the authors give a commercial "
    "licence on request: vchitect@pjlab.org.cn). Not for pornographic, violent or demeaning content."
)
_LAVIE = Licence("LaVie", "https://github.com/Vchitect/LaVie#license", _WEIGHTS_NOTE)
_SEINE = Licence("SEINE", "https://github.com/Vchitect/SEINE#license", _WEIGHTS_NOTE)
_OPENRAIL_M = Licence(
    "CreativeML OpenRAIL-M",
    "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    "Free to use, commercially too, except for the harmful uses that its attachment A lists; pass these on.",
)
_OPENRAIL_PP = Licence(
    "CreativeML Open RAIL++-M",
    "https://huggingface.co/stabilityai/stable-diffusion-2/blob/main/LICENSE-MODEL",
    "Free to use, commercially too, except for the harmful uses that its attachment A lists; pass these on.",
)

_TOKENIZER = tuple(
    RemoteFile(f"tokenizer/{name}")
    for name in ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")
)


def _lavie(name: str, title: str, size: int, sha256: str) -> Release:
    return Release(name, title, "Vchitect/LaVie", (RemoteFile(f"{name}.pt", size, sha256),), _LAVIE)


CATALOG: dict[str, Release] = {
    release.name: release
    for release in (
        _lavie(
            "lavie_base",
            "base: a text becomes 16 frames of 320×512",
            3_636_842_083,
            "043d383d8b35289e98862cf7c6249f198db641f8690f283679942fc5af32ef2f",
        ),
        _lavie(
            "lavie_interpolation",
            "interpolation: 16 frames become 61",
            3_636_857_733,
            "fa076554e18b30ecce4606b0dbb5f3ad2ef5a1255c5dd7a05b92ccb614dd6830",
        ),
        _lavie(
            "lavie_vsr",
            "upscaler: 320×512 becomes 1280×2048",
            2_764_614_443,
            "7e138c19a4ccb8dfc6c53f507016457555b6efeab8e37a15ff4bfa74de8c3c04",
        ),
        Release(
            "seine",
            "extension: SEINE animates an image or joins two",
            "Vchitect/SEINE",
            (RemoteFile("seine.pt", 3_636_899_683),),
            _SEINE,
        ),
        Release(
            "stable-diffusion-v1-4",
            "VAE and text encoder for base, interpolation and extension",
            "CompVis/stable-diffusion-v1-4",
            (
                RemoteFile("vae/config.json"),
                RemoteFile(
                    "vae/diffusion_pytorch_model.safetensors",
                    sha256="a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
                ),
                RemoteFile("text_encoder/config.json"),
                RemoteFile("text_encoder/model.safetensors"),
                *_TOKENIZER,
                RemoteFile("scheduler/scheduler_config.json"),
            ),
            _OPENRAIL_M,
            "stable-diffusion-v1-4",
            "133a221b8aa7292a167afc5127cb63fb5005638b",
        ),
        Release(
            "stable-diffusion-x4-upscaler",
            "VAE and text encoder for the upscaler",
            "stabilityai/stable-diffusion-x4-upscaler",
            (
                RemoteFile("vae/config.json"),
                RemoteFile(
                    "vae/diffusion_pytorch_model.safetensors",
                    sha256="33478c297ec29218100f8ee86007b3ab4c2701896d5ca5c9e3a84fc29f678183",
                ),
                RemoteFile("text_encoder/config.json"),
                RemoteFile("text_encoder/model.safetensors"),
                *_TOKENIZER,
                RemoteFile("scheduler/scheduler_config.json"),
                RemoteFile("low_res_scheduler/scheduler_config.json"),
            ),
            _OPENRAIL_PP,
            "stable-diffusion-x4-upscaler",
            "572c99286543a273bfd17fac263db5a77be12c4c",
        ),
    )
}

GROUPS = {"lavie": tuple(name for name in CATALOG if name != "seine"), "all": tuple(CATALOG)}


def releases(names: Iterable[str]) -> list[Release]:
    """The releases of these names and groups ("lavie": the whole cascade; "all"), each once.

    Raises:
        UsageError: no name, or an unknown one.
    """
    chosen: dict[str, Release] = {}
    for name in names:
        if name not in CATALOG and name not in GROUPS:
            raise UsageError(f"'{name}' is nothing to download. Choose from {', '.join([*GROUPS, *CATALOG])}.")
        chosen |= {each: CATALOG[each] for each in GROUPS.get(name, (name,))}
    if not chosen:
        raise UsageError(f"Say what to download: {', '.join([*GROUPS, *CATALOG])}.")
    return list(chosen.values())


def placement(files: Iterable[tuple[Release, RemoteFile]], models: Path) -> str:
    """What to download from which page, and which folder to put it in."""
    places: dict[tuple[str, Path], list[str]] = {}
    for release, file in files:
        places.setdefault((release.page, models / release.folder), []).append(file.path + _readable(file.size))
    return "\n".join(f"  {page}: {', '.join(paths)} -> {folder}" for (page, folder), paths in places.items())


def licence_text(chosen: Iterable[Release]) -> str:
    """The licences of these releases, with the names that they cover."""
    covered: dict[Licence, list[str]] = {}
    for release in chosen:
        covered.setdefault(release.licence, []).append(release.name)
    return "\n".join(
        f"{', '.join(names)}: {licence.name} ({licence.url})\n  {licence.note}" for licence, names in covered.items()
    )


def _readable(size: int) -> str:
    return f" ({size / 1e9:.1f} GB)" if size else ""
