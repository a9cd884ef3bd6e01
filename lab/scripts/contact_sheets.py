"""Make docs/studies/sheets/: what every stage of a family makes, beside the truth and beside its plain rival.

python -m lab.scripts.contact_sheets [FAMILY]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from lab.sprites import caption, frame_times
from lab.sprites.continuation import LASTING, PASSING, RECURSION, course
from lab.sprites.held_out import ENLARGED, held_out_scenes, rendered
from lab.sprites.suites.extension import scenes_of
from lavie import ExtensionPipeline, InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.evaluation.interpolation import FACTOR, NUM_FRAMES, blend
from lavie.evaluation.upscaler import SCALE, bicubic

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "studies" / "sheets"
SEED = 1000
MARGIN = 4


def row(frames: np.ndarray) -> np.ndarray:
    """uint8 [f, h, w, 3] side by side."""
    return np.concatenate(list(frames), axis=1)


def save(name: str, rows: list[np.ndarray], enlarge: int = 1) -> None:
    """Rows of one width, one below the other, as a JPEG."""
    gap = np.full((MARGIN, rows[0].shape[1], 3), 255, dtype=np.uint8)
    sheet = np.concatenate([part for each in rows for part in (each, gap)][:-1])
    image = Image.fromarray(sheet)
    image = image.resize((image.width * enlarge, image.height * enlarge), Image.Resampling.LANCZOS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    image.save(FOLDER / f"{name}.jpg", quality=88)
    print(FOLDER / f"{name}.jpg")


def base(family: str) -> None:
    """The first sixteen held-out prompts of the evaluation, four frames of each: two clips a row."""
    pipeline, scenes = TextToVideoPipeline.from_pretrained(family), held_out_scenes(16, SEED)
    clips = pipeline.generate([caption(scene) for scene in scenes], [SEED + i for i in range(len(scenes))])
    rows = [row(clip.frames[[0, 5, 10, 15]]) for clip in clips]
    save("base", [np.concatenate(pair, axis=1) for pair in zip(rows[::2], rows[1::2], strict=True)], enlarge=2)
    print("\n".join(f"{number // 2 + 1}: {caption(scene)}" for number, scene in enumerate(scenes)))


def interpolation(family: str) -> None:
    """Five neighbouring frames of clips that move: blended, made, and true."""
    pipeline = InterpolationPipeline.from_pretrained(family)
    config = pipeline.stage.family.base
    rows = []
    for number, scene in enumerate(scenes_of(("moving right", "moving up", "bouncing"), 3, SEED)):
        truth = rendered(scene, frame_times(NUM_FRAMES), config.height, config.width)
        keys = truth[::FACTOR]
        made = pipeline(keys, caption(scene), seed=SEED + number).frames
        rows += [row(frames[24:29]) for frames in (blend(keys), made, truth)]
    save("interpolation", rows, enlarge=2)


def upscaler(family: str) -> None:
    """A frame each: bicubic, made, and true."""
    pipeline = UpscalePipeline.from_pretrained(family)
    config = pipeline.stage.family.base
    rows = []
    for number, scene in enumerate(held_out_scenes(4, SEED)):
        small = rendered(scene, ENLARGED, config.height, config.width)
        truth = rendered(scene, ENLARGED, SCALE * config.height, SCALE * config.width)
        made = pipeline(small, caption(scene), seed=SEED + number).frames
        rows.append(row(np.stack([frames[4] for frames in (bicubic(small), made, truth)])))
    save("upscaler", rows)


def extension(family: str) -> None:
    """The frame given, and the middle and the end of every recursion; what passes has one."""
    pipeline = ExtensionPipeline.from_pretrained(family)
    config = pipeline.stage.family.base
    rows = []
    for motions, recursions in ((LASTING, 4), (PASSING[:3], 1)):
        for number, scene in enumerate(scenes_of(motions, 3, SEED)):
            given = course(scene, config.height, config.width, recursions).given[-1:]
            frames = pipeline(caption(scene), given, seed=SEED + number, recursions=recursions).frames
            step = RECURSION // 2 if recursions > 1 else 2
            shown = np.arange(9) * step if recursions > 1 else np.minimum(np.arange(9) * step, RECURSION)
            rows.append(row(frames[shown]))
    save("extension", rows, enlarge=2)


def main() -> None:
    family = sys.argv[1] if len(sys.argv) > 1 else "lavie-tiny"
    for sheet in (base, interpolation, upscaler, extension):
        sheet(family)


if __name__ == "__main__":
    main()
