"""`lavie train STAGE`: teach one stage of a model family from captioned clips and pictures.

docs/training.md goes from ten clips of your own to many GPUs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..argument_types import real_number, size, whole_number
from ..errors import UsageError
from .registry import registered_targets
from .settings import CONDITIONINGS

if TYPE_CHECKING:
    from .loop import TrainResult
    from .lora.train import LoraResult

STAGES = ("base", "interpolation", "upscaler", "extension")
LORA = "lora"
HELP = "train a stage of a model family on your clips and pictures"
# What only stages that denoise know.
OF_DENOISING = (
    *("videos", "images", "curriculum", "frames", "size", "fps", "patch", "cut_scenes", "cache"),
    *("precompute", "precompute_text", "min_frames", "min_words", "min_size", "min_aesthetic"),
    *(
        "images_per_clip",
        "image_weight",
        "anchor_share",
        "text_dropout",
        "loss_weight",
        "conditioning",
        "max_noise_level",
    ),
    *("handheld_share", "train", "lora_rank", "train_text", "prompt"),
)

# What only LoRAs know, what they know as stages do, and what they do not know.
OF_LORAS = (
    "output",
    "trigger",
    "lora_alpha",
    "lora_targets",
    "prior_prompt",
    "prior_images",
    "prior_weight",
    "class_word",
    "prior_frames",
    "random_crops",
    "crop_scale",
    "camera_move",
)
ALSO_OF_LORAS = (
    *("images", "size", "images_per_clip", "text_dropout", "loss_weight", "lora_rank", "train_text"),
    "handheld_share",
)
NOT_OF_LORAS = (*(name for name in OF_DENOISING if name not in ALSO_OF_LORAS), "mask_weight")

MOST_STEPS = 100_000_000
SPEC = "a folder of files with .txt captions beside them, a .csv, .tar shards (brace {000..099} or URL)"
CACHE = "for shards from the net (default: runs/shards) and what was found out about videos (default: in the --run)"
VAES = "VAEs: the recipe's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    known = (*STAGES, LORA, *registered_targets())
    parser.add_argument("stage", type=_target, metavar="STAGE", help=f"which network to train: {', '.join(known)}")
    _add_start(parser.add_argument_group("what to start from"))
    _add_data(parser.add_argument_group("data"))
    _add_filters(parser.add_argument_group("which files count (the paper's section 4; what is left out is reported)"))
    _add_objective(parser.add_argument_group("objective"))
    _add_optimisation(parser.add_argument_group("optimisation"))
    _add_lora(parser.add_argument_group("lora (learns from one folder of --images; the family stays as it is)"))
    _add_run(parser.add_argument_group("run"))


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--family",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the model family: its VAE, text encoder and tokenizer are used, and the trained network is written there",
    )
    group.add_argument(
        "--init",
        metavar="WHAT",
        help="a family (name or folder), a Stable Diffusion 1.x checkpoint or diffusers folder to make a video model "
        "of, the x4 upscaler's folder for the upscaler, or 'scratch' for fresh weights of lavie-tiny's size "
        "(default: what the family has)",
    )


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--videos", nargs="+", default=[], metavar="SPEC[=WEIGHT]", help=f"clips: {SPEC}; weights share out the steps"
    )
    group.add_argument(
        "--images", nargs="+", default=[], metavar="SPEC[=WEIGHT]", help="captioned pictures, of the same kinds"
    )
    group.add_argument(
        "--curriculum",
        type=Path,
        metavar="FILE.json",
        help='weights by step, linear between: [{"step": 0, "weights": {"SPEC": 1}}, …], for the --videos of that name',
    )
    group.add_argument(
        "--frames", type=whole_number(1, 1000), nargs="+", metavar="N", help="clip lengths, one drawn per step"
    )
    group.add_argument("--size", type=size, metavar="HxW", help="pixels of the clips (default: the family's)")
    group.add_argument(
        "--fps",
        type=real_number(0, 1000),
        nargs="+",
        metavar="X",
        help="frames a second of the clips, one drawn per step; 0: frames as they follow in the file "
        "(default: the base's own rate for base and extension, else 0)",
    )
    group.add_argument("--patch", type=size, metavar="HxW", help="learn from random windows of this many pixels")
    group.add_argument("--cut-scenes", action="store_true", help="split videos where scenes change (PySceneDetect)")
    group.add_argument("--cache", type=Path, metavar="FOLDER", help=CACHE)
    group.add_argument(
        "--workers", type=whole_number(0, 256), default=0, metavar="N", help="processes that read (default: 0)"
    )
    group.add_argument(
        "--precompute", type=Path, metavar="FOLDER", help="encode all clips once into this folder, then read only that"
    )
    group.add_argument(
        "--precompute-text", action="store_true", help="with --precompute: the captions' embeddings, too"
    )


def _add_filters(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--min-frames", type=whole_number(1, 10**6), default=16, metavar="N", help="of a video (default: 16)"
    )
    group.add_argument(
        "--min-words", type=whole_number(0, 1000), default=3, metavar="N", help="of a caption (default: 3)"
    )
    group.add_argument("--min-size", type=size, metavar="HxW", help="pixels of the file (default: any)")
    group.add_argument(
        "--min-aesthetic", type=real_number(-1e6, 1e6), metavar="X", help="of the table's column 'aesthetic'"
    )


def _add_objective(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--images-per-clip",
        type=whole_number(0, 64),
        metavar="M",
        help="base: pictures that learn beside each clip (default: 4 with --images)",
    )
    group.add_argument(
        "--image-weight",
        type=real_number(0, 1000),
        default=1.0,
        metavar="ALPHA",
        help="what the pictures' loss counts beside the clips' (default: 1)",
    )
    group.add_argument(
        "--anchor-share",
        type=real_number(0, 1),
        default=0.0,
        metavar="P",
        help="share of clips one of whose frames has less noise than the others: teaches how frames follow from one "
        "another, and words of motion (default: 0)",
    )
    group.add_argument(
        "--text-dropout",
        type=real_number(0, 1),
        metavar="P",
        help="share of captions left out, which guidance needs (default: 0.1; LoRAs: 0)",
    )
    group.add_argument(
        "--loss-weight",
        choices=("uniform", "min-snr", "clean"),
        default="uniform",
        help="what each noise level counts: as in the paper, min-SNR with gamma 5, or by the error of the clean clip",
    )
    group.add_argument(
        "--mask-weight",
        "--sprite-weight",
        type=real_number(0.01, 1000),
        metavar="X",
        help=f"how often an error inside a clip's mask counts, where the clip has one (default: 1; {VAES})",
    )
    group.add_argument(
        "--conditioning",
        choices=CONDITIONINGS,
        default="first-frame",
        help="extension: go on from the first frame (8 channels), or fill masked clips (9 channels)",
    )
    group.add_argument(
        "--max-noise-level",
        type=whole_number(0, 350),
        default=350,
        metavar="N",
        help="upscaler: most noise on the small clip (default: 350)",
    )
    group.add_argument(
        "--handheld-share",
        type=real_number(0, 1),
        metavar="P",
        help="share of clips made of --images by a handheld camera's moves (default: upscaler 0.3; lora 0, which needs "
        "--prior-frames, and learns them from the lower noise levels)",
    )


def _add_optimisation(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--train",
        choices=("all", "temporal", "spatial", "spatial-lora"),
        help="what learns: everything, what looks along the frames, all but that, or low-rank changes of the spatial "
        "layers (default: all; an upscaler that is no beginner: temporal; with --images alone: spatial)",
    )
    group.add_argument("--lora-rank", type=whole_number(1, 320), default=16, metavar="N", help="default: 16")
    group.add_argument("--train-text", action="store_true", help="base: the text encoder learns, too")
    group.add_argument(
        "--steps", type=whole_number(0, MOST_STEPS), required=True, metavar="N", help="in all; 0: precompute only"
    )
    group.add_argument(
        "--batch", type=whole_number(1, 10**6), metavar="N", help=f"clips a step in all (default: 8; {VAES})"
    )
    group.add_argument(
        "--micro-batch", type=whole_number(0, 10**6), default=0, metavar="N", help="clips at a time (default: all)"
    )
    group.add_argument(
        "--learning-rate", type=real_number(0, 10), metavar="X", help=f"at its peak (default: 1e-4; {VAES})"
    )
    group.add_argument("--optimizer", choices=("adamw", "muon"), help="default: adamw; VAEs: muon")
    group.add_argument("--schedule", choices=("cosine", "constant"), default="cosine", help="default: cosine")
    group.add_argument(
        "--warmup", type=whole_number(0, MOST_STEPS), metavar="N", help="steps to the peak (default: 200; VAEs: 100)"
    )
    group.add_argument(
        "--ema",
        type=real_number(0, 0.999999),
        metavar="DECAY",
        help="what is written is the weights' average over steps; 0: the last weights (default: 0.999; VAEs: 0.995)",
    )
    group.add_argument("--mixed-precision", choices=("no", "bf16", "fp16"), default="no", help="default: no")
    group.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")


def _add_lora(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--output", type=Path, metavar="FILE", help="the .safetensors file to write")
    group.add_argument(
        "--trigger",
        default="",
        metavar="WORD",
        help="the word that calls for what is learnt; it goes before captions that lack it, and stands alone where a "
        "picture has none",
    )
    group.add_argument(
        "--lora-alpha", type=real_number(1e-6, 1e6), metavar="X", help="changes count alpha / rank (default: the rank)"
    )
    group.add_argument(
        "--lora-targets",
        choices=("attention", "attention-ff", "all"),
        default="attention-ff",
        help="layers that change; all: convolutions, too (default: attention-ff)",
    )
    group.add_argument(
        "--prior-prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="what the subject is a kind of, without the trigger: pictures of it, made by the base before it learns, "
        "keep everything else as it was; repeatable",
    )
    group.add_argument(
        "--prior-images",
        type=whole_number(0, 10_000),
        default=50,
        metavar="N",
        help="how many; prompts beyond their number are kept at the high noise levels (default: 50)",
    )
    group.add_argument(
        "--prior-weight", type=real_number(0, 100), default=1.0, metavar="X", help="what they count (default: 1)"
    )
    group.add_argument(
        "--class-word",
        default="",
        metavar="TEXT",
        help="what the subject is a kind of, as it stands in some of the --prior-prompt: the subject goes where that "
        "would go, and moves as it would",
    )
    group.add_argument(
        "--prior-frames",
        type=whole_number(1, 1000),
        default=1,
        metavar="N",
        help="above 1: they are clips of so many frames, --images-per-clip of your pictures learn beside each, and the "
        "motion stays as it was, too (default: 1)",
    )
    group.add_argument(
        "--random-crops",
        type=whole_number(0, 1000),
        default=0,
        metavar="N",
        help="windows of each picture, cut from its original pixels, that are learnt beside the whole, so that neither "
        "place nor size is learnt with the subject (default: 0)",
    )
    group.add_argument(
        "--crop-scale",
        type=real_number(0.1, 1),
        nargs=2,
        default=(0.5, 1.0),
        metavar=("MIN", "MAX"),
        help="their share of a picture's height and width (default: 0.5 1)",
    )
    group.add_argument(
        "--camera-move",
        action="append",
        default=[],
        metavar="WORDS=MOVE",
        help="what the camera of the --handheld-share does for WORDS, so that the subject seems to do it: still, left, "
        "right, up, down, nearer, farther or hop; repeatable. A picture whose caption says any of the words is shown "
        "in all of these ways, and the captions of the clips say which; none: no clip of pictures that say WORDS",
    )


def _add_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--run",
        dest="run_folder",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="for checkpoints and logs; the same command with the same folder goes on to the very step",
    )
    group.add_argument("--save-every", type=whole_number(1, MOST_STEPS), default=500, metavar="N", help="default: 500")
    group.add_argument("--log-every", type=whole_number(1, MOST_STEPS), default=20, metavar="N", help="default: 20")
    group.add_argument(
        "--sample-every",
        type=whole_number(0, MOST_STEPS),
        default=0,
        metavar="N",
        help="steps between samples for TensorBoard (default: none)",
    )
    group.add_argument(
        "--export",
        action="store_true",
        help="train nothing: write the network of the last checkpoint into the family, also while the run goes on",
    )
    group.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="base: of the samples; repeatable")
    group.add_argument(
        "--seed", type=whole_number(0, 2**63 - 1), default=0, metavar="N", help="of data, noise and fresh weights"
    )
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    group.add_argument(
        "--threads", type=whole_number(0, 1024), default=0, metavar="N", help="of the CPU (default: torch's choice)"
    )


def run(args: argparse.Namespace) -> int:
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.stage in registered_targets():
        return _told(registered_targets()[args.stage](args))
    if args.stage == LORA:
        from .lora.command import check_lora, train_lora_from

        check_lora(args, _parser(), NOT_OF_LORAS)
        return _told(train_lora_from(args))
    check(args)
    from .assemble import train_stage

    return _told(train_stage(args))


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work for this stage, before anything heavy is loaded."""
    parser = _parser()
    for name in OF_LORAS:
        if getattr(args, name) != parser.get_default(name):
            raise UsageError(f"--{name.replace('_', '-')} is for `lavie train lora`, not for the {args.stage} stage.")
    alone = args.stage == "base" and bool(args.images) and not args.videos
    if not args.videos and not alone:
        raise UsageError(f"Name something to train on: --videos with {SPEC}.")
    if alone and (args.frames not in (None, [1]) or args.images_per_clip or args.train == "temporal"):
        raise UsageError("--images without --videos teach single pictures: leave out --frames and what is for clips.")
    only = {
        "--images-per-clip": ("base", args.images_per_clip is not None),
        "--train-text": ("base", args.train_text),
        "--prompt": ("base", bool(args.prompt)),
    }
    for option, (stage, given) in only.items():
        if given and args.stage != stage:
            raise UsageError(f"{option} is for the {stage} stage, not for {args.stage}.")
    if args.images and args.stage not in ("base", "upscaler"):
        raise UsageError(f"--images are for the base and the upscaler; the {args.stage} stage learns from --videos.")
    if args.images_per_clip and not args.images:
        raise UsageError("--images-per-clip needs --images with captioned pictures.")
    if args.precompute_text and (args.precompute is None or args.train_text):
        raise UsageError("--precompute-text needs --precompute, and a text encoder that does not learn.")
    if not args.steps and args.precompute is None:
        raise UsageError("--steps 0 only makes sense with --precompute, which it leaves ready.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


def _target(name: str) -> str:
    known = (*STAGES, LORA, *registered_targets())
    if name not in known:
        more = "" if registered_targets() else "; autoencoders are trained in a checkout, by `python -m lab train`"
        raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}{more}")
    return name


def _told(result: TrainResult | LoraResult | None) -> int:
    """The exit code: 0, or 128 and the signal that stopped the run."""
    if result is None or not result.stopped:
        return 0
    print("lavie: stopped and saved; the same command goes on from there.", file=sys.stderr)
    return 128 + result.signal
