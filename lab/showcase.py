"""Every image that shows what a family makes, unpicked, by one command.

    python -m lab.showcase FAMILY [FOLDER] [--prompts 32]

FOLDER gets showcase.jpg (the README's: four prompts, seeds 0 to 3), workflows/NAME.jpg (four frames of seed 0) and
workflows.jpg (a row for each, seeds 0 to 3), prompts_base.jpg and prompts_upscaled.jpg (held-out prompts, four frames
each) and prompts.txt, and examples/NAME.mp4, the videos of LaVie Example Video, which are rendered.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lavie import (
    CascadePipeline,
    ExtensionPipeline,
    InterpolationPipeline,
    LongVideoPipeline,
    TextToVideoPipeline,
    TransitionPipeline,
    UpscalePipeline,
)
from lavie.lora import Lora
from lavie.sampling import PromptSchedule
from lavie.video import write_video

from .measures.held_out import filmed
from .measures.samples import SEED, held_out_scenes
from .measures.sheet import sheet
from .training.style_lora import FILE as STYLE
from .training.subject_lora import images
from .world.captions import caption
from .world.grammar import scene_of
from .world.render import frame_seconds
from .world.scene import Scene

README = (
    "a red balloon moving right over a mountain lake at dawn, clear sky",
    "a yellow lantern moving up over the sea at night, stars shining",
    "sand dunes at sunset, clouds drifting, panning right",
    "a forest at noon, snow falling",
)
SEEDS = range(4)
SIZE, GAP = (384, 256), 4  # of each frame of a workflow's image


def example(number: int, **fixed: Any) -> Scene:
    return scene_of(9, number, **fixed)


EXAMPLES = {  # the videos of LaVie Example Video
    "red balloon over a meadow": example(
        1, place="meadow", time="noon", weather="clouds", kind="balloon", colour="red", motion="moving right"
    ),
    "yellow lantern at night": example(
        2, place="lake", time="night", weather="stars", kind="lantern", colour="yellow", motion="moving up"
    ),
    "blue sailboat on the sea": example(
        3, place="sea", time="sunset", weather="clear", kind="sailboat", colour="blue", motion="moving left"
    ),
}
FIRST, SECOND, THIRD = EXAMPLES


@dataclass(frozen=True)
class Studio:
    """A family's pipelines, and what each workflow shows: NAME → frames uint8 [f, h, w, 3] of a seed."""

    family: str

    @cached_property
    def base(self) -> TextToVideoPipeline:
        return TextToVideoPipeline.from_pretrained(self.family)

    @cached_property
    def long(self) -> LongVideoPipeline:
        return LongVideoPipeline.from_pretrained(self.family)

    @cached_property
    def interpolation(self) -> InterpolationPipeline:
        return InterpolationPipeline.from_pretrained(self.family)

    @cached_property
    def upscaler(self) -> UpscalePipeline:
        return UpscalePipeline.from_pretrained(self.family)

    def given(self, name: str) -> np.ndarray:
        return filmed(EXAMPLES[name], frame_seconds(16))

    def text_to_video(self, seed: int) -> np.ndarray:
        return self.base(caption(EXAMPLES[FIRST]), seed=seed).frames

    def full_cascade(self, seed: int) -> np.ndarray:
        return CascadePipeline.from_pretrained(self.family)(README[0], seed=seed).frames

    def lora(self, seed: int) -> np.ndarray:
        """The first half without the LoRA, the second half with it."""
        plain = self.base(README[0], seed=seed).frames
        self.base.set_loras([Lora.read(Path(self.family) / STYLE)])
        styled = self.base(README[0], seed=seed).frames
        self.base.set_loras([])
        return np.concatenate((plain[[4, 12]], styled[[4, 12]]))

    def image_to_video(self, seed: int) -> np.ndarray:
        given = self.given(FIRST)[:1]
        return self.long(caption(EXAMPLES[FIRST]), 16, seed=seed, method="replacement", video=given).frames

    def image_to_video_by_the_extension(self, seed: int) -> np.ndarray:
        pipeline = ExtensionPipeline.from_pretrained(self.family)
        return pipeline(caption(EXAMPLES[FIRST]), self.given(FIRST)[:1], seed=seed, recursions=1).frames

    def three_prompts(self, seed: int) -> np.ndarray:
        times = ("at dawn", "at sunset", "at night")
        prompts = (f"{16 * i}: a pink balloon hovering over the sea {time}, clear sky" for i, time in enumerate(times))
        return self.long(PromptSchedule.parse("\n".join(prompts)), 40, seed=seed, method="replacement").frames

    def transition(self, seed: int) -> np.ndarray:
        pipeline = TransitionPipeline.from_pretrained(self.family)
        return pipeline("the sea at sunset, clear sky", self.given(SECOND)[8:], self.given(THIRD)[:8], seed=seed).frames

    def upscale_and_interpolate(self, seed: int) -> np.ndarray:
        dense = self.interpolation(self.given(FIRST), "", seed=seed).frames
        return self.upscaler(dense, "", seed=seed).frames


WORKFLOWS: dict[str, Callable[[Studio, int], np.ndarray]] = {
    "Two nodes": Studio.full_cascade,
    "Text to video": Studio.text_to_video,
    "Core KSampler": Studio.text_to_video,
    "Full cascade": Studio.full_cascade,
    "LoRA": Studio.lora,
    "Image to video": Studio.image_to_video,
    "Image to video by the extension stage": Studio.image_to_video_by_the_extension,
    "Long video with three prompts": Studio.three_prompts,
    "Prompts over time": Studio.three_prompts,
    "Transition": Studio.transition,
    "Upscale and interpolate a video": Studio.upscale_and_interpolate,
}


def four_frames(frames: np.ndarray) -> np.ndarray:
    """Evenly spaced ones of uint8 [f, h, w, 3]."""
    return frames[np.linspace(0, len(frames) - 1, 4).round().astype(int)]


def square(frames: np.ndarray) -> Image.Image:
    """Four frames, two by two, as the images of workflows are."""
    width, height = SIZE
    image = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for number, frame in enumerate(four_frames(frames)):
        place = ((width + GAP) * (number % 2), (height + GAP) * (number // 2))
        image.paste(Image.fromarray(frame).resize(SIZE, Image.Resampling.BICUBIC), place)
    return image


def save(image: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, quality=88)
    print(file, flush=True)


def readme(studio: Studio, folder: Path) -> None:
    pipeline = CascadePipeline.from_pretrained(studio.family)
    clips = [pipeline(prompt, seed=seed).frames for prompt, seed in zip(README, SEEDS, strict=True)]
    save(sheet(clips, columns=1, scale=1), folder / "showcase.jpg")


def workflows(studio: Studio, folder: Path) -> None:
    rows, made = [], {}
    for name, make in WORKFLOWS.items():
        if make not in made:
            made[make] = [make(studio, seed) for seed in SEEDS]
        save(square(made[make][0]), folder / "workflows" / f"{name}.jpg")
        middles = [Image.fromarray(clip[len(clip) // 2]).resize(SIZE) for clip in made[make]]
        rows.append(np.stack([np.asarray(middle) for middle in middles]))
    save(sheet(rows, columns=1, scale=1), folder / "workflows.jpg")


def prompts(studio: Studio, folder: Path, count: int) -> None:
    texts = [caption(scene) for scene in held_out_scenes(count)]
    clips = [studio.base(text, seed=SEED + i).frames for i, text in enumerate(texts)]
    save(sheet(clips), folder / "prompts_base.jpg")
    large = [studio.upscaler(clip, texts[i], seed=SEED + i).frames for i, clip in enumerate(clips)]
    save(sheet(large, scale=1), folder / "prompts_upscaled.jpg")
    (folder / "prompts.txt").write_text("\n".join(texts) + "\n", "utf-8")


def examples(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, scene in EXAMPLES.items():
        write_video(folder / f"{name}.mp4", filmed(scene, frame_seconds(16)), fps=8, quality=95)
    stills = np.stack([pixels.numpy() for pixels, _ in images()])
    write_video(folder / "twelve images of a butterfly.mp4", stills, fps=1, quality=95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("showcase"))
    parser.add_argument("--prompts", type=int, default=32)
    args = parser.parse_args()
    studio = Studio(args.family)
    examples(args.folder / "examples")
    readme(studio, args.folder)
    prompts(studio, args.folder, args.prompts)
    workflows(studio, args.folder)


if __name__ == "__main__":
    main()
