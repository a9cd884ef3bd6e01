"""The table of methods.

To add one, add a row here and a module of that name beside it with `sample(job, num_frames, settings)` and, if it can
continue a video, `continued(job, latents, num_frames, settings)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..knobs import check_knobs, described
from .settings import ALL_HAVE, LongVideoSettings

if TYPE_CHECKING:
    from torch import Tensor

    from ..job import Job


@dataclass(frozen=True)
class Method:
    """One row.

    help: what it does, in a few words. has: its settings besides those of all methods. context_frames: its own default,
    given the length of a clip. continues: it can continue a video. one_pass: the network sees all frames together, in
    memory that grows with their number. stage: the stage that it needs besides the base.
    """

    name: str
    help: str
    has: tuple[str, ...] = ()
    context_frames: Callable[[int], int] | None = None
    continues: bool = False
    one_pass: bool = False
    stage: str = ""

    def settings(self, clip_frames: int, **given: Any) -> LongVideoSettings:
        """The given settings (None: not given), else the method's own for a model with clips of that length.

        Raises:
            UsageError: a setting that the method does not have, or a value outside its range.
        """
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in (*self.has, *ALL_HAVE):
                having = ", ".join(method.name for method in METHODS.values() if name in method.has)
                raise UsageError(f"The method '{self.name}' has no setting {name}. Leave it out, or choose: {having}.")
        if self.context_frames is not None:
            given.setdefault("context_frames", self.context_frames(clip_frames))
        settings = LongVideoSettings(**given)
        check_knobs(settings)
        return settings

    def described(self, settings: LongVideoSettings) -> dict[str, Any]:
        """The method and all its settings, for the metadata of a video."""
        every = described(settings)
        return {"method": self.name, **{name: every[name] for name in (*self.has, *ALL_HAVE)}}

    def sample(self, job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
        """Scaled latents [batch, 4, num_frames, height / 8, width / 8].

        Args:
            job: of the base stage; its `clip_frames` are the window. Its text is for all frames, or for each of them.
        """
        from .clips import checked

        return self._module.sample(checked(job, num_frames), num_frames, settings)

    def continued(self, job: Job, latents: Tensor, num_frames: int, settings: LongVideoSettings) -> Tensor:
        """Scaled latents [batch, 4, num_frames, h, w] that follow the given ones [batch, 4, F, h, w].

        Args:
            job: of the base stage, or of the stage that the method needs. Its text is for all frames, or for each of
                the F + num_frames.
        """
        return self._module.continued(job, latents, num_frames, settings)

    @property
    def _module(self) -> Any:
        return import_module(f".{self.name}", __package__)


_CONTINUING = ("context_frames", "drift_correction", "anchor", "seam_frames")
_ROWS = (
    Method(
        "conditioned",
        "the extension stage makes each clip from the end of the one before",
        _CONTINUING,
        lambda clip_frames: 1,
        continues=True,
        stage="extension",
    ),
    Method(
        "replacement",
        "clip after clip; each sees the end of the one before",
        (*_CONTINUING, "resample"),
        lambda clip_frames: max(1, clip_frames // 4),
        continues=True,
    ),
    Method(
        "free_noise",
        "all frames in one pass, in windows that share frames (memory grows)",
        ("context_frames", "motion_injection"),
        lambda clip_frames: clip_frames - max(1, clip_frames // 4),
        one_pass=True,
    ),
    Method("fifo", "frame by frame; slow and steady", ("partitions", "lookahead")),
    Method("free_long", "all frames in one pass, for slow changes (memory grows)", one_pass=True),
    Method("independent", "clips with hard cuts between them"),
    Method(
        "gen_l_video",
        "all frames together, in windows averaged at every step (memory of one clip)",
        ("context_frames",),
        lambda clip_frames: clip_frames // 2,
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in _ROWS}


def method_of(name: str) -> Method:
    """The method of that name."""
    if name not in METHODS:
        raise UsageError(f"Unknown method '{name}'. Choose one of: {', '.join(METHODS)}.")
    return METHODS[name]
