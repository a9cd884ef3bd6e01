"""What a LoRA is told: its size, where it goes, and what it is called by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...errors import UsageError
from ..freezing import SPATIAL_LAYERS

_CONVOLUTIONS = r"proj_(in|out)|resnets\.\d+\.(conv[12]|conv_shortcut)|(down|up)samplers\.0\.conv"
# Which layers of the UNet change, as PEFT matches whole names; kohya's LoRA and LoCon.
TARGETS = {
    "attention": r".*\.attn[12]\.(to_[qkv]|to_out\.0)",
    "attention-ff": SPATIAL_LAYERS,
    "all": rf"{SPATIAL_LAYERS}|.*\.({_CONVOLUTIONS})",
}
TEXT_TARGETS = r".*\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
MOST_RANK = 320
LEAST_CROP = 0.1
HANDHELD_MAX_TIMESTEP = 500
PICTURE_MAX_TIMESTEP = 600  # of pictures whose subject has a class: above, that tells where things are


@dataclass(frozen=True)
class LoraSettings:
    """What is learnt, and under which word.

    rank: of the changes; alpha: they count alpha / rank, None is the rank. targets: layers of the UNet that change, a
    key of `TARGETS`; those that look along the frames never do. train_text: the text encoder gets changes, too.
    trigger: the word that calls for what is learnt; it is put before every caption that does not hold it, and is the
    whole caption of pictures that have none. text_dropout: share of captions left out. loss_weight: of the noise
    levels, see `lavie.training.objective`. random_crops: how many windows of each picture are learnt beside the whole;
    crop_scale: their least and largest share of its height and width.
    prior_prompts, prior_images: pictures of these prompts in turn, so many in all, made by the base itself before it
    learns, that keep it as it is where the trigger is missing (prior preservation, after DreamBooth, Ruiz et al. 2022):
    of them the LoRA learns the base's own answer, to their captions and to none, and where they are nearly noise to
    all prior prompts, also those that none is made of. prior_weight: what they count.
    class_word: what the subject is a kind of, as it stands in some prior prompts; what the base makes of it at high
    noise levels, where things are and how they move, is learnt for the trigger, too, and the pictures only below
    `PICTURE_MAX_TIMESTEP`. prior_frames: above 1 they are clips of so many frames, and the pictures learn beside them,
    `images_per_clip` beside each (paper, equation 3): the motion, too, stays as it is.
    handheld_share: of the clips; so many are not the base's own, but the pictures as before a hand-held camera, learnt
    from noise levels below `HANDHELD_MAX_TIMESTEP`, where a clip shows its motion and asks only for what moves. So
    the layers along the frames meet the subject, which single pictures keep from them.
    camera_moves: words of captions, and what the camera of those clips does for them in place of a hand's walk, see
    `lavie.training.lora.camera`.

    Raises:
        UsageError: a rank outside 1…320, unknown targets, shares outside 0.1…1 or out of order, a prior prompt with the
            trigger, or none where one is needed, a class word in none of them, or a hand-held camera without clips.
    """

    rank: int = 16
    alpha: float | None = None
    targets: str = "attention-ff"
    train_text: bool = False
    trigger: str = ""
    text_dropout: float = 0.0
    loss_weight: str = "uniform"
    random_crops: int = 0
    crop_scale: tuple[float, float] = (0.5, 1.0)
    prior_prompts: tuple[str, ...] = ()
    prior_images: int = 0
    prior_weight: float = 1.0
    class_word: str = ""
    prior_frames: int = 1
    images_per_clip: int = 4
    handheld_share: float = 0.0
    camera_moves: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= MOST_RANK:
            raise UsageError(f"The rank of a LoRA must be between 1 and {MOST_RANK}, not {self.rank}.")
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha > 0):
            raise UsageError(f"The alpha of a LoRA must be above 0, not {self.alpha}.")
        if self.targets not in TARGETS:
            raise UsageError(f"Unknown targets '{self.targets}'. Choose {', '.join(TARGETS)}.")
        if not LEAST_CROP <= self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise UsageError(
                f"Crops have a least and a largest share of the picture, {LEAST_CROP:g} to 1, not "
                f"{' to '.join(f'{share:g}' for share in self.crop_scale)}."
            )
        if self.prior_images and not self.prior_prompts:
            raise UsageError("Prior pictures need a prompt that says what they show (prior_prompts).")
        if self.prior_frames > 1 and not (self.prior_images and self.prior_weight):
            raise UsageError(
                "Prior clips need prompts (prior_prompts), their number (prior_images) and a weight above 0."
            )
        if not 0 <= self.handheld_share < 1:
            raise UsageError(
                f"A hand-held camera makes a share of 0 to below 1 of the clips, not {self.handheld_share:g}."
            )
        if self.handheld_share and not self.jointly:
            raise UsageError(
                "A hand-held camera (handheld_share) needs prior clips beside its own: prior_frames above 1."
            )
        if self.camera_moves and not self.handheld_share:
            raise UsageError("Moves of the camera (camera_moves) need clips to be made: a handheld_share above 0.")
        if self.class_word and not self.trigger:
            raise UsageError("A class word lends its motion to a trigger: name that, too.")
        if self.class_word and not (self.prior_images and any(map(self.in_place_of_class, self.prior_prompts))):
            raise UsageError(
                f"The class word '{self.class_word}' stands in no prior prompt that a prior picture is made of: write "
                "one that holds it (prior_prompts), and say how many pictures (prior_images)."
            )
        words = {word for prompt in self.prior_prompts for word in prompt.lower().split()}
        if self.trigger and set(self.trigger.lower().split()) <= words:
            raise UsageError(f"A prior prompt holds the trigger '{self.trigger}', which it is to be without.")

    def reading_size(self, height: int, width: int) -> tuple[int, int]:
        """What pictures are read at to learn at height×width: so large that the smallest window need not grow."""
        share = self.crop_scale[0] if self.random_crops else 1.0
        return round(height / share), round(width / share)

    def in_place_of_class(self, caption: str) -> str | None:
        """The caption with the trigger where the class word stands, as a word of its own; None where it does not."""
        if not self.class_word:
            return None
        word = rf"(?<!\w){re.escape(self.class_word)}(?!\w)"
        lent, count = re.subn(word, lambda _: self.trigger, caption, flags=re.IGNORECASE)
        return lent if count else None

    @property
    def jointly(self) -> bool:
        """Pictures learn beside clips."""
        return self.prior_frames > 1

    @property
    def scale(self) -> float:
        """alpha, or the rank where none is given."""
        return float(self.rank if self.alpha is None else self.alpha)
