"""The proof of `lavie train lora` on the bundled weights: twelve images of a sprite that they have never seen.

    python -m lab.scripts.train_subject_lora [--subject cat|mushroom] [RUN_FOLDER [OPTION…]]

Renders the images, trains on them (options are those of `lavie train lora`), and measures: does the subject appear
with every motion over every background, is the motion still right, do other prompts stay as they were, and do it and
the bundled LoRA show together?
"""

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import lab
from lab.sprites import BACKGROUNDS, MOTIONS, SUBJECTS, caption, render, sample_scene
from lab.sprites.suites.lora import COLOUR
from lavie.cli import main
from lavie.config import find_family
from lavie.models.latents import to_uint8

TRIGGER, CLASS = "zwx", f"{COLOUR} ball"
SEED = 11
MOMENTS = (  # what an image shows: the subject in this motion, at this share of its clip
    *(("moving left", 0.5), ("moving right", 0.3), ("moving up", 0.6), ("moving down", 0.5)),
    *(("growing", 0.05), ("growing", 0.6), ("shrinking", 0.95), ("bouncing", 0.3)),
    *(("spinning", 0.2), ("spinning", 0.5), ("spinning", 0.8), ("standing still", 0.5)),
)
REST, HOP = ("standing still", "still"), ("bouncing", "hop")
NEARER, FARTHER = ("growing", "nearer"), ("shrinking", "farther")
MOVES = (  # what the camera does for the words of a caption; what stands here more often is shown more often
    *(("moving left", "left"), ("moving right", "right"), ("moving up", "up"), ("moving down", "down")),
    *(NEARER, FARTHER, HOP, REST),
    *(REST, NEARER, NEARER, FARTHER, HOP, HOP),
    ("spinning", "none"),
)
OPTIONS = (
    *("--steps", 4000, "--batch", 2, "--lora-rank", 64, "--learning-rate", 1e-3),
    *("--loss-weight", "clean", "--random-crops", 15, "--crop-scale", 0.75, 1),
    *("--prior-frames", 16, "--prior-weight", 2, "--class-word", CLASS, "--images-per-clip", 4),
    *("--handheld-share", 0.33, "--train-text"),
    *(part for words, move in MOVES for part in ("--camera-move", f"{words}={move}")),
)
CLIPS_OF_CLASS, OTHER_CLIPS, PROMPTS_ALONE = 2, 4, 20  # of every motion: prior prompts with a clip, and without


def images(subject: str) -> list[tuple[Tensor, str]]:
    """The images, uint8 [64, 96, 3], and what each shows, with the trigger in the place of colour and shape.

    They show the subject in every size and pose that the videos will be asked for, each over another background.
    """
    generator = torch.Generator().manual_seed(SEED)
    made = []
    for index, (motion, moment) in enumerate(MOMENTS):
        background = BACKGROUNDS[index % len(BACKGROUNDS)]
        scene = sample_scene(generator, colour=COLOUR, shape=subject, motion=motion, background=background)
        video, _ = render([scene], torch.tensor([moment]), 64, 96)
        words = caption(scene).replace(f"a {COLOUR} {subject}", f"a {TRIGGER}")
        made.append((to_uint8(video)[0, :, 0].permute(1, 2, 0), words))
    return made


def prior_prompts() -> tuple[list[str], int]:
    """Prompts without the subject, the class in every motion and other shapes, too; and how many get a clip."""
    generator = torch.Generator().manual_seed(SEED)
    of_class = [{"colour": COLOUR, "shape": "ball", "motion": motion} for motion in MOTIONS * CLIPS_OF_CLASS]
    others = [{"motion": motion} for motion in MOTIONS * (OTHER_CLIPS + PROMPTS_ALONE)]
    prompts = [caption(sample_scene(generator, False, **given)) for given in (*of_class, *others)]
    clips = len(set(prompts[: len(MOTIONS) * (CLIPS_OF_CLASS + OTHER_CLIPS)]))
    return list(dict.fromkeys(prompts)), clips


def write_images(folder: Path, subject: str) -> None:
    """Each as NAME.png and NAME.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (pixels, words) in enumerate(images(subject)):
        Image.fromarray(pixels.numpy()).save(folder / f"{index:02}.png")
        (folder / f"{index:02}.txt").write_text(words + "\n")


def run(folder: Path, subject: str, *options: str) -> int:
    """Images, LoRA, figures."""
    lab.register()
    write_images(folder / "pictures", subject)
    lora = folder / f"{TRIGGER}.safetensors"
    arguments = {"--family": "lavie-tiny", "--images": folder / "pictures", "--run": folder / "run", "--output": lora}
    given = [part for pair in arguments.items() for part in pair]
    prompts, clips = prior_prompts()
    priors = [part for prompt in prompts for part in ("--prior-prompt", prompt)] + ["--prior-images", clips]
    code = main(list(map(str, ["train", "lora", *given, "--trigger", TRIGGER, *OPTIONS, *priors, *options])))
    beside = find_family("lavie-tiny").path("loras/lavie-tiny-sunset.safetensors")
    measured = ["--lora", str(lora), "--trigger", TRIGGER, "--subject", subject, "--other-lora", str(beside)]
    return code or main(["evaluate", "lora", *measured])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/subject"))
    parser.add_argument("--subject", choices=SUBJECTS, default=SUBJECTS[0])
    given, options = parser.parse_known_args()
    sys.exit(run(given.folder, given.subject, *options))
