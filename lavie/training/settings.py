"""What a training run is told about its stage: sizes, objective, what learns."""

from __future__ import annotations

from dataclasses import dataclass

CONDITIONINGS = ("first-frame", "mask")  # lavie.training.inflate.EXTENSIONS


@dataclass(frozen=True)
class StageSettings:
    """How a stage learns; `for_stage` of `lavie.training.assemble` fills in what the family says.

    frames: clip lengths, one of them drawn per step. height, width: pixels of the clips that the network learns from
        (upscaler: of the large ones). patch: height and width of random windows of them, in the same pixels.
    images_per_clip: M, pictures that follow each clip in the joint objective; image_weight: α, what their loss counts.
    pictures_alone: the base learns from pictures only, as an image model; layers along the frames are left out.
    anchor_share: share of clips one of whose frames has less noise than the others, see `anchored_timesteps`.
    text_dropout: share of captions that are left out, so that guidance has something to start from.
    loss_weight: see `lavie.training.objective`. mask_weight: how much more an error counts inside a clip's mask.
    train: what learns, see `lavie.training.freezing`. train_text: the text encoder learns, too (base only).
    conditioning: what the extension is given: the first frame, or masked clips.
    max_noise_level: of the noise on the upscaler's low-resolution input; decoded_share: of that input, how much has
        been through the base stage's VAE, as it is in the cascade.
    prompts: of the samples that the log shows; empty: the captions of the first clips.
    """

    frames: tuple[int, ...]
    height: int
    width: int
    patch: tuple[int, int] | None = None
    images_per_clip: int = 0
    image_weight: float = 1.0
    pictures_alone: bool = False
    anchor_share: float = 0.0
    text_dropout: float = 0.1
    loss_weight: str = "uniform"
    mask_weight: float = 1.0
    train: str = "all"
    train_text: bool = False
    conditioning: str = "first-frame"
    max_noise_level: int = 350
    decoded_share: float = 0.5
    prompts: tuple[str, ...] = ()
