"""The proof of `lavie train lora` on the bundled weights: ten pictures of a sprite that they have never seen.

    python scripts/train_subject_lora.py [RUN_FOLDER [OPTION…]]

Renders the pictures, trains on them (options are those of `lavie train lora`), and measures: does the subject appear
with every motion over every background, is the motion still right, do other prompts stay as they were, and do it and
the bundled LoRA show together?
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lavie.cli import main  # noqa: E402
from lavie.config import find_family  # noqa: E402
from lavie.evaluation.lora import COLOUR, SUBJECT  # noqa: E402
from lavie.models.latents import to_uint8  # noqa: E402
from lavie.training.synthetic import BACKGROUNDS, MOTIONS, caption, render, sample_scene  # noqa: E402

TRIGGER = "zwx"
COUNT, SEED = 10, 11
OPTIONS = (
    *("--steps", 1400, "--batch", 2, "--lora-rank", 32, "--lora-targets", "all", "--learning-rate", 1.5e-3),
    *("--loss-weight", "clean", "--random-crops", 15, "--crop-scale", 0.75, 1),
    *("--prior-frames", 8, "--prior-images", 28, "--images-per-clip", 4, "--handheld-share", 0.33),
)
PRIORS = (
    "a red ball moving left over green grass",
    "a blue star moving right in the desert",
    "a pink fish moving up over snow",
    "a white car moving down at sunset",
    "a yellow heart bouncing over the sea",
    "a purple box spinning over a blue sky",
    "a green rocket growing over a night sky",
)


def pictures() -> list[tuple[Tensor, str]]:
    """Ten pictures, uint8 [64, 96, 3], and what each shows, with the trigger in the place of colour and shape.

    Each is a moment of another motion over another background, and its caption says which: the words that the videos
    of it will be asked for in.
    """
    generator = torch.Generator().manual_seed(SEED)
    made = []
    for index in range(COUNT):
        scene = sample_scene(
            generator,
            colour=COLOUR,
            shape=SUBJECT,
            motion=MOTIONS[index % len(MOTIONS)],
            background=BACKGROUNDS[index % len(BACKGROUNDS)],
        )
        video, _ = render([scene], torch.rand(1, generator=generator), 64, 96)
        words = caption(scene).replace(f"a {COLOUR} {SUBJECT}", f"a {TRIGGER}")
        made.append((to_uint8(video)[0, :, 0].permute(1, 2, 0), words))
    return made


def write_pictures(folder: Path) -> None:
    """NAME.png and NAME.txt, ten times."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (pixels, words) in enumerate(pictures()):
        Image.fromarray(pixels.numpy()).save(folder / f"{index:02}.png")
        (folder / f"{index:02}.txt").write_text(words + "\n")


def run(folder: Path, *options: str) -> int:
    """Pictures, LoRA, figures."""
    write_pictures(folder / "pictures")
    lora = folder / f"{TRIGGER}.safetensors"
    arguments = {"--family": "lavie-tiny", "--images": folder / "pictures", "--run": folder / "run", "--output": lora}
    given = [part for pair in arguments.items() for part in pair]
    priors = [part for prompt in PRIORS for part in ("--prior-prompt", prompt)]
    code = main(list(map(str, ["train", "lora", *given, "--trigger", TRIGGER, *OPTIONS, *priors, *options])))
    beside = find_family("lavie-tiny").path("loras/lavie-tiny-sunset.safetensors")
    measured = ["--lora", str(lora), "--trigger", TRIGGER, "--other-lora", str(beside)]
    return code or main(["evaluate", "lora", *measured])


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/subject"), *sys.argv[2:]))
