"""The settings of a LoRA: its size, the layers it changes, and its trigger."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import UsageError
from ...knobs import check_knobs, knob, same_knob
from ..layers import TARGETS
from ..settings import MAX_RANK, BaseObjective

MIN_CROP = 0.1
PRIOR_IMAGES = 50
HANDHELD_MAX_TIMESTEP = 500
IMAGE_MAX_TIMESTEP = 600  # of images if there is a class word: above, the class decides where things are
NONE = "none"  # no camera can do what the words say, so such an image is in no clip
MOVES = ("still", "left", "right", "up", "down", "nearer", "farther", "hop", NONE)

CameraMove = tuple[str, str]  # words, and one of `MOVES`


def camera_move(line: str) -> CameraMove:
    """What "WORDS=MOVE" says.

    Raises:
        UsageError: no words, or no such move.
    """
    words, _, move = (part.strip() for part in line.rpartition("="))
    if not words or move not in MOVES:
        raise UsageError(f"'{line}' is no move of the camera: write WORDS=MOVE, a move being {', '.join(MOVES)}.")
    return words, move


@dataclass(frozen=True)
class LoraSettings:
    """What is learnt, and under which word.

    targets: a key of `TARGETS`; temporal layers never change. prior_prompts, prior_images: images of these prompts in
    turn, so many in all, made by the base itself before it learns, that keep it as it is where the trigger is missing
    (prior preservation, after DreamBooth, Ruiz et al. 2022): of them the LoRA learns the base's own answer, to their
    captions and to none, and where they are nearly noise to all prior prompts, also those that none is made of.
    class_word: what the base makes of it at high noise levels, where things are and how they move, is learnt for the
    trigger, too, and the images only below `IMAGE_MAX_TIMESTEP`. prior_frames: above 1, images and clips learn
    together (paper, equation 3). handheld_share: these clips are learnt from noise levels below
    `HANDHELD_MAX_TIMESTEP`, where a clip shows its motion and asks only for what moves; temporal layers meet the
    subject in them, which single images keep from them.

    Fields keep their order: LaVie LoRA Trainer finds an unfinished run by their values.

    Raises:
        UsageError: a value outside its range, crops out of order, a prior prompt with the trigger, or none where one is
            needed, a class word in none of them, or a handheld camera without clips.
    """

    rank: int = knob(16, "How much the LoRA can hold. 4 to 32 is usual.", (1, MAX_RANK), flag="lora-rank")
    alpha: float | None = knob(
        None,
        "Scales the changes by alpha / rank.",
        (1e-6, 1e6),
        unset="the rank",
        off=0.0,
        step=1,
        flag="lora-alpha",
        advanced=True,
    )
    targets: str = knob(
        "attention-ff",
        "The layers that change. all includes convolutions (a larger file).",
        flag="lora-targets",
        choices=tuple(TARGETS),
        advanced=True,
    )
    train_text: bool = same_knob(BaseObjective, "train_text", False, advanced=True)
    trigger: str = knob(
        "",
        "The word that brings the subject up in a prompt; choose one that means nothing else. It is put before "
        "captions that lack it, and is the whole caption of images without one.",
        metavar="WORD",
    )
    text_dropout: float = same_knob(BaseObjective, "text_dropout", 0.0, help="Share of captions left out.")
    loss_weight: str = same_knob(
        BaseObjective,
        "loss_weight",
        "uniform",
        help="How much each noise level counts. clean: by the error of the clean image; lavie-tiny learns fastest with "
        "it. min-snr: gamma 5.",
        advanced=True,
    )
    random_crops: int = knob(
        0,
        "Random crops of each image at its original pixels, learned beside the whole one, so that the subject is not "
        "tied to one place and size.",
        (0, 1000),
        advanced=True,
    )
    crop_scale: tuple[float, float] = knob(
        (0.5, 1.0),
        "Smallest and largest share of an image's height and width that a crop shows.",
        (MIN_CROP, 1),
        many=2,
        metavar=("MIN", "MAX"),
    )
    prior_prompts: tuple[str, ...] = knob(
        (),
        "A prompt for what the subject is a kind of, without the trigger. The base makes images of it before training, "
        "and the LoRA keeps answering it as the base does.",
        flag="prior-prompt",
        widget="prior_prompt",
        many="append",
    )
    prior_images: int = knob(
        None,
        "How many images to make of the --prior-prompt. Further prompts are kept as they were at high noise only.",
        (0, 10_000),
        unset=str(PRIOR_IMAGES),
        advanced=True,
    )
    prior_weight: float = knob(
        1.0,
        "How much these images or clips count. Above 1, other prompts change less.",
        (0, 100),
        advanced=True,
    )
    class_word: str = knob(
        "",
        "What the subject is a kind of, as written in some --prior-prompt ('cat'). The subject then goes where that "
        "would go and moves as it would.",
        advanced=True,
    )
    prior_frames: int = knob(
        1,
        "Above 1, the base makes clips of this many frames instead of images, with some of your images learned beside "
        "each. This also keeps the motion as it was.",
        (1, 1000),
        advanced=True,
    )
    images_per_clip: int = knob(4, "How many of your images to learn beside each clip, with --prior-frames.", (0, 64))
    handheld_share: float = knob(
        0.0,
        "Share of the clips made from your images, as if filmed by a hand-held camera, so that the subject also looks "
        "right in motion. Needs --prior-frames above 1.",
        (0, 1),
        step=0.05,
        advanced=True,
    )
    camera_moves: tuple[CameraMove, ...] = knob(
        (),
        "What the camera of --handheld-share does if a caption contains WORDS: still, left, right, up, down, nearer, "
        "farther or hop; none: no clips of such images. An image whose caption contains any of the words is shown "
        "in all these ways, and the clips' captions say which. As 'standing still=still' or "
        "'the camera zooms in=nearer'.",
        flag="camera-move",
        parse=camera_move,
        many="append",
        metavar="WORDS=MOVE",
        advanced=True,
    )

    def __post_init__(self) -> None:
        if self.prior_images is None:
            object.__setattr__(self, "prior_images", PRIOR_IMAGES if self.prior_prompts else 0)
        check_knobs(self)
        if self.alpha is not None and not self.alpha > 0:
            raise UsageError(f"The alpha of a LoRA must be above 0, not {self.alpha}.")
        if self.crop_scale[0] > self.crop_scale[1]:
            smallest, largest = self.crop_scale
            raise UsageError(
                f"The crop scale goes from its smallest share to its largest, not {smallest:g} to {largest:g}."
            )
        self._check_prior()
        self._check_handheld()

    def _check_prior(self) -> None:
        if self.prior_images and not self.prior_prompts:
            raise UsageError("Prior images need a prompt that says what they show (prior_prompts).")
        if self.prior_frames > 1 and not (self.prior_images and self.prior_weight):
            raise UsageError(
                "Prior clips need prompts (prior_prompts), their number (prior_images) and a weight above 0."
            )
        if self.class_word and not self.trigger:
            raise UsageError("A class word lends its motion to a trigger: name that, too.")
        if self.class_word and not (self.prior_images and any(map(self.in_place_of_class, self.prior_prompts))):
            raise UsageError(
                f"The class word '{self.class_word}' stands in no prior prompt that a prior image is made of: write "
                "one that holds it (prior_prompts), and say how many images (prior_images)."
            )
        words = {word for prompt in self.prior_prompts for word in prompt.lower().split()}
        if self.trigger and set(self.trigger.lower().split()) <= words:
            raise UsageError(f"A prior prompt holds the trigger '{self.trigger}', which it is to be without.")

    def _check_handheld(self) -> None:
        if self.handheld_share == 1:
            raise UsageError("A handheld camera makes a share of 0 to below 1 of the clips, not 1.")
        if self.handheld_share and not self.jointly:
            raise UsageError(
                "A handheld camera (handheld_share) needs prior clips beside its own: prior_frames above 1."
            )
        if self.camera_moves and not self.handheld_share:
            raise UsageError("Moves of the camera (camera_moves) need clips to be made: a handheld_share above 0.")

    def recorded(self) -> dict[str, Any]:
        """The settings that an unfinished run must keep; those that have no effect in it may differ."""
        idle = () if self.jointly else ("images_per_clip",)
        return {name: value for name, value in asdict(self).items() if name not in idle}

    def reading_size(self, height: int, width: int) -> tuple[int, int]:
        """The size to read images at for training at height×width: so large that the smallest crop need not be
        enlarged."""
        share = self.crop_scale[0] if self.random_crops else 1.0
        return round(height / share), round(width / share)

    def in_place_of_class(self, caption: str) -> str | None:
        """The caption with the trigger in place of the class word (a whole word); None if it does not contain it."""
        if not self.class_word:
            return None
        word = rf"(?<!\w){re.escape(self.class_word)}(?!\w)"
        lent, count = re.subn(word, lambda _: self.trigger, caption, flags=re.IGNORECASE)
        return lent if count else None

    @property
    def jointly(self) -> bool:
        """Whether images are learned beside clips."""
        return self.prior_frames > 1

    @property
    def scale(self) -> float:
        """alpha, or the rank if none is given."""
        return float(self.rank if self.alpha is None else self.alpha)
