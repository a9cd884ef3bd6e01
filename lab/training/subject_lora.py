"""The proof of `lavie train lora` on lavie-tiny: twelve images of a guest that it has never seen.

    python -m lab.training.subject_lora FAMILY RUN [--clips 63] [OPTION…]

Renders the images, trains on them (options are those of `lavie train lora`), and measures; see `lab.measures.lora`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lavie.cli import main as lavie
from lavie.models.latents import to_uint8

from .. import register
from ..world.captions import MOTIONS, caption
from ..world.grammar import scene_of
from ..world.newcomer import CLASS, prompt_of, scene_like, visited
from ..world.render import render
from ..world.view import SECONDS

TRIGGER, SEED = "zwx", 11
MOMENTS = (  # what an image shows: the guest in this motion, at this share of its clip
    *(("moving left", 0.5), ("moving right", 0.3), ("moving up", 0.6), ("moving down", 0.5)),
    *(("moving right", 0.7), ("moving left", 0.2), ("growing", 0.05), ("growing", 0.9)),
    *(("shrinking", 0.95), ("shrinking", 0.4), ("hovering", 0.2), ("hovering", 0.7)),
)
SAID = {motion: phrases[0] for motion, phrases in MOTIONS.items()}
MOVES = {  # what the camera does for the words of a caption
    **{f"moving {way}": way for way in ("left", "right", "up", "down")},
    "growing": "nearer",
    "shrinking": "farther",
    "hovering": "still",
}
OPTIONS = (
    *("--steps", 4000, "--batch", 2, "--lora-rank", 64, "--learning-rate", 1e-3, "--mixed-precision", "bf16"),
    *("--loss-weight", "clean", "--random-crops", 15, "--crop-scale", 0.75, 1),
    *("--prior-frames", 16, "--prior-weight", 2, "--class-word", CLASS, "--images-per-clip", 4),
    *("--handheld-share", 0.33, "--train-text"),
    *(part for motion, move in MOVES.items() for part in ("--camera-move", f"{SAID[motion]}={move}")),
)
CLIPS_OF_CLASS, OTHER_CLIPS, PROMPTS_ALONE = 2, 4, 20  # of every motion: prior prompts with a clip, and without


def images() -> list[tuple[Tensor, str]]:
    """The images, uint8 [64, 96, 3], and what each shows, with the trigger in the place of colour and kind.

    They show the guest in every size that the clips will be asked for, each at another place.
    """
    made = []
    for number, (motion, moment) in enumerate(MOMENTS):
        scene = visited(scene_like(SEED, number, motion=motion, camera="still"))
        rendering = render(scene, torch.tensor([moment * SECONDS]), 64, 96)
        made.append((to_uint8(rendering.video)[:, 0].permute(1, 2, 0), prompt_of(scene, TRIGGER)))
    return made


def write_images(folder: Path) -> None:
    """Each as NAME.png and NAME.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (pixels, words) in enumerate(images()):
        Image.fromarray(pixels.numpy()).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(words + "\n")


def prior_prompts() -> tuple[list[str], int]:
    """Prompts without the trigger: the class in every motion, then other guests; and how many of them get a clip."""
    motions = tuple(MOTIONS)
    of_class = [caption(scene_like(SEED, i, motion=m)) for i, m in enumerate(motions * CLIPS_OF_CLASS)]
    others = enumerate(motions * (OTHER_CLIPS + PROMPTS_ALONE))
    prompts = of_class + [caption(scene_of(SEED, 100 + i, motion=motion)) for i, motion in others]
    clips = len(set(prompts[: len(motions) * (CLIPS_OF_CLASS + OTHER_CLIPS)]))
    return list(dict.fromkeys(prompts)), clips


def run(family: Path, folder: Path, measured: int, options: list[str]) -> int:
    """Write the images, train the LoRA, print the figures."""
    register()
    write_images(folder / "images")
    lora, (prompts, clips) = folder / f"{TRIGGER}.safetensors", prior_prompts()
    given = ["--family", family, "--images", folder / "images", "--run", folder / "run", "--output", lora]
    priors = [part for prompt in prompts for part in ("--prior-prompt", prompt)] + ["--prior-images", clips]
    code = lavie(list(map(str, ["train", "lora", *given, "--trigger", TRIGGER, *OPTIONS, *priors, *options])))
    measure = ["evaluate", "lora", "--model", family, "--lora", lora, "--trigger", TRIGGER, "--clips", measured]
    return code or lavie(list(map(str, measure)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clips", type=int, default=63, help="that are measured, of each sort")
    given, options = parser.parse_known_args()
    raise SystemExit(run(given.family, given.run, given.clips, options))
