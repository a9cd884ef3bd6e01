"""The settings of training by theme; `lavie.training.targets` puts together those that each target has.

Nothing heavy is imported here: the command line reads its flags off these classes before anything is loaded.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from .. import flags
from ..errors import UsageError
from ..knobs import REQUIRED, check_knobs, knob, same_knob

CONDITIONINGS = ("first-frame", "mask")  # lavie.training.inflate.EXTENSIONS
SCHEMES = ("all", "temporal", "spatial", "spatial-lora")
WEIGHTINGS = ("uniform", "min-snr", "clean")
SPEC = "a folder of files with .txt captions beside them, a .csv table, or .tar shards (brace {000..099} or URL)"
MAX_RANK = 320
BASE_FRAMES = (16,)


@dataclass(frozen=True, kw_only=True)
class FamilyFolder:
    """The family that something is trained for."""

    family: Path = knob(
        REQUIRED,
        "The model family. Training uses its VAE, text encoder and tokenizer, and writes the trained network there.",
    )


@dataclass(frozen=True, kw_only=True)
class Start(FamilyFolder):
    """The family that a network is trained for, and what the training starts from."""

    init: str | None = knob(
        None,
        "What to start from: a family (name or folder), a Stable Diffusion 1.x checkpoint or diffusers folder to "
        "make a video model of, the folder of the x4 upscaler for the upscaler, or 'scratch' for fresh weights of "
        "lavie-tiny's size.",
        unset="what the family has",
        metavar="WHAT",
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """The folder of a run, and how it is run."""

    run_folder: Path = knob(
        REQUIRED,
        "Folder for checkpoints and logs. The same command with the same folder resumes at the same step.",
        flag="run",
    )
    threads: int = knob(0, "CPU threads. 0: torch's choice.", (0, 1024))


@dataclass(frozen=True, kw_only=True)
class NetworkRun(Run):
    """A run that ends with a network in the family."""

    export: bool = knob(
        False,
        "Do not train; write the network of the last checkpoint into the family. Works even while the run continues.",
    )


@dataclass(frozen=True, kw_only=True)
class Clips:
    """The clips that a stage learns from."""

    videos: tuple[str, ...] = knob(
        REQUIRED, f"Training clips: {SPEC}. Weights divide the steps among them.", many=True, metavar="SPEC[=WEIGHT]"
    )
    curriculum: Path | None = knob(
        None,
        'Weights of the --videos over the run, linear in between: [{"step": 0, "weights": {"SPEC": 1}}, …].',
        metavar="FILE.json",
    )
    frames: tuple[int, ...] | None = knob(
        BASE_FRAMES, "Frames per clip. With several lengths, each step draws one.", (1, 1000), many=True
    )
    size: tuple[int, int] | None = knob(None, "Height and width of the clips.", unset="the family's", parse=flags.size)
    fps: tuple[float, ...] | None = knob(
        None,
        "Frame rate of the clips. With several rates, each step draws one. 0: every frame of the file.",
        (0, 1000),
        unset="the rate of the family's base",
        many=True,
    )
    patch: tuple[int, int] | None = knob(
        None, "Train on random windows of this size instead of whole frames.", parse=flags.size
    )
    cut_scenes: bool = knob(False, "Split videos where the scene changes (PySceneDetect).")
    cache: Path | None = knob(
        None,
        "Folder for downloaded shards and for what was learned about the videos.",
        unset="runs/shards, and the --run folder",
    )
    precompute: Path | None = knob(None, "Encode all clips into this folder once, then train from there.")
    precompute_text: bool = knob(False, "With --precompute, also encode the captions.")

    images: tuple[str, ...] = ()  # only some stages learn from images

    def rates(self, own: float) -> tuple[float | None, ...]:
        """Frame rates to draw from (None: every frame of the file); own: the stage's."""
        return tuple(rate or None for rate in (self.fps or (own,)))


@dataclass(frozen=True, kw_only=True)
class DenseClips(Clips):
    """Clips that use every frame of the file, unless a rate is given."""

    fps: tuple[float, ...] | None = same_knob(Clips, "fps", None, unset="0")

    def rates(self, own: float) -> tuple[float | None, ...]:
        return super().rates(0)


@dataclass(frozen=True, kw_only=True)
class ClipsAndImages(Clips):
    """Clips and captioned images; or images alone, from which the base learns as an image model."""

    videos: tuple[str, ...] = same_knob(Clips, "videos", ())
    images: tuple[str, ...] = knob(
        (), "Captioned images, from the same kinds of source.", many=True, metavar="SPEC[=WEIGHT]"
    )
    frames: tuple[int, ...] | None = same_knob(Clips, "frames", None, unset="16; from --images alone: 1")


@dataclass(frozen=True, kw_only=True)
class DenseClipsAndImages(DenseClips):
    """Clips, and images to make more clips from."""

    images: tuple[str, ...] = same_knob(
        ClipsAndImages,
        "images",
        (),
        help="Captioned images to make hand-held clips from, from the same kinds of source.",
    )


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which clips are good enough for training: what each must have at least (paper, section 4)."""

    min_frames: int = knob(16, "Fewest frames of a video.", (1, None))
    min_words: int = knob(3, "Fewest words of a caption.", (0, None))
    min_size: tuple[int, int] | None = knob(
        None, "Smallest height and width of the file.", unset="any", parse=flags.size
    )
    min_aesthetic: float | None = knob(None, "Lowest score in the table's column 'aesthetic'.", unset="any")

    def refusal(
        self,
        caption: str | None = None,
        frames: int | None = None,
        height: float | None = None,
        width: float | None = None,
        aesthetic: float | None = None,
    ) -> str | None:
        """Why a clip is dropped, or None; what is unknown (None) is not checked."""
        if caption is not None and len(caption.split()) < self.min_words:
            return f"caption of fewer than {self.min_words} words" if caption.strip() else "no caption"
        if aesthetic is not None and self.min_aesthetic is not None and not aesthetic >= self.min_aesthetic:
            return f"aesthetic score below {self.min_aesthetic:g}"
        min_height, min_width = self.min_size or (0, 0)
        if height is not None and width is not None and (height < min_height or width < min_width):
            return f"smaller than {min_height}x{min_width}"
        if frames is not None and frames < self.min_frames:
            return f"fewer than {self.min_frames} frames"
        return None

    def fingerprint(self) -> str:
        """Changes with any of them; always the same text, so that clips encoded from shards by older versions count."""
        height, width = self.min_size or (0, 0)
        sizes = f"min_height={height}, min_width={width}"
        return (
            f"Filters(min_frames={self.min_frames}, min_words={self.min_words}, {sizes}, "
            f"min_aesthetic={self.min_aesthetic})"
        )


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a stage learns, and which of its weights are trained."""

    anchor_share: float = knob(
        0.0,
        "Share of clips in which one frame has less noise than the rest. Teaches how frames follow one another, and "
        "what words about motion mean.",
        (0, 1),
    )
    text_dropout: float = knob(0.1, "Share of captions left out, which guidance needs.", (0, 1))
    loss_weight: str = knob(
        "uniform",
        "How much each noise level counts. uniform: as in the paper. min-snr: gamma 5. clean: by the error of the "
        "denoised clip.",
        choices=WEIGHTINGS,
    )
    mask_weight: float = knob(
        1.0,
        "How much an error inside a clip's mask counts, if the clip has one.",
        (0.01, 1000),
        aliases=("sprite-weight",),
    )
    train: str | None = knob(
        None,
        "Which weights learn: all, the temporal layers, the spatial layers, or low-rank changes of the spatial layers.",
        unset="all",
        choices=SCHEMES,
    )
    lora_rank: int = knob(16, "Rank of the changes with --train spatial-lora.", (1, MAX_RANK))
    train_text: bool = False  # only the base can


@dataclass(frozen=True, kw_only=True)
class BaseObjective(Objective):
    train: str | None = same_knob(Objective, "train", None, unset="all; from --images alone: spatial")
    images_per_clip: int | None = knob(
        None, "How many images to learn beside each clip.", (0, 64), unset="4 with --images"
    )
    image_weight: float = knob(1.0, "How much the images' loss counts beside the clips'.", (0, 1000))
    train_text: bool = knob(False, "Also train the text encoder.")
    prompts: tuple[str, ...] = knob(
        (), "Prompt for the samples in the log, instead of the first captions.", flag="prompt", many="append"
    )


@dataclass(frozen=True, kw_only=True)
class UpscalerObjective(Objective):
    train: str | None = same_knob(Objective, "train", None, unset="temporal; for fresh weights: all")
    max_noise_level: int = knob(350, "Most noise on the low-resolution input.", (0, 350))
    handheld_share: float = knob(0.3, "Share of clips made from --images, as if filmed by a hand-held camera.", (0, 1))


@dataclass(frozen=True, kw_only=True)
class ExtensionObjective(Objective):
    conditioning: str = knob(
        "first-frame",
        "first-frame: continue from the first frame (8 input channels). mask: fill in masked clips (9 channels).",
        choices=CONDITIONINGS,
    )


@dataclass(frozen=True)
class StageSettings(BaseObjective, UpscalerObjective, ExtensionObjective):
    """How any stage learns: objective and sizes, all of them decided.

    frames: clip lengths, one of them drawn per step. height, width: pixels of the clips that the network learns from
        (upscaler: of the large ones). patch: height and width of random windows of them, in the same pixels.
    images_per_clip: M of the joint objective. image_weight: α.
    pictures_alone: the base learns from images only, as an image model; temporal layers are left out.
    decoded_share: of the upscaler's low-resolution input, how much has been through the base stage's VAE, as it is in
        the cascade.
    """

    frames: tuple[int, ...]
    height: int
    width: int
    _: KW_ONLY
    patch: tuple[int, int] | None = None
    images_per_clip: int = 0
    pictures_alone: bool = False
    train: str = "all"
    decoded_share: float = 0.5


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn.

    batch_size: of all processes together; micro_batch: of one process. weight_decay: of AdamW and Muon. max_grad_norm:
    0 for none. keep: checkpoints. save_frozen: whether these hold weights that do not learn; without, a run must start
    from the same ones each time. The end of a run is always saved; weights stay float32 in mixed precision.

    Fields keep their order: LaVie LoRA Trainer finds an unfinished run by their values.
    """

    steps: int = knob(REQUIRED, "Steps of the whole run, including earlier sessions.", (0, None))
    batch_size: int = knob(8, "Examples per step, of all processes together.", (1, None), flag="batch")
    micro_batch: int = knob(
        0, "Examples at a time, with accumulated gradients. Fewer need less memory. 0: all.", (0, None)
    )
    learning_rate: float = knob(1e-4, "Learning rate at its peak.", (0, 10))
    optimizer: str = knob("adamw", "Optimizer of the weights.", choices=("adamw", "muon"))
    warmup: int = knob(100, "Steps until the learning rate reaches its peak.", (0, None))
    schedule: str = knob(
        "cosine",
        "Learning rate after the warmup. cosine: falls to 2 % of the peak. constant: stays.",
        choices=("cosine", "constant"),
    )
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = knob(
        0.999,
        "Decay of the weights' moving average, which is what is written. 0: write the last weights.",
        (0, 0.999999),
        flag="ema",
    )
    mixed_precision: str = knob("no", "Precision of the computation; fp16 needs a GPU.", choices=("no", "bf16", "fp16"))
    gradient_checkpointing: bool = knob(False, "Saves memory, takes a third more time.")
    seed: int = knob(0, "Seed of data, noise and fresh weights.", (0, 2**63 - 1))
    save_every: int = knob(500, "Steps between checkpoints.", (0, None))
    sample_every: int = knob(0, "Steps between samples for TensorBoard; 0: none.", (0, None))
    log_every: int = knob(20, "Steps between lines of the log.", (0, None))
    workers: int = knob(0, "Processes that read data; 0: the training process itself.", (0, 256))
    keep: int = 2
    save_frozen: bool = True
    device: str = knob("auto", "Where to train.", choices=("auto", "cpu", "cuda"))

    def __post_init__(self) -> None:
        check_knobs(self)


def check_steps(steps: int) -> None:
    """Refuse a run without steps, where nothing else is to be done."""
    if not steps:
        raise UsageError("--steps 0 trains nothing: give the steps of the whole run.")
