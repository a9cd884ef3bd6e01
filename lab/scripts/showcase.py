"""Make docs/showcase.jpg: four prompts by the bundled family, four frames of each, as `lavie generate` makes them."""

from pathlib import Path

import numpy as np
from PIL import Image

from lavie import CascadePipeline

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = (
    ("a red ball moving left over green grass", 0),
    ("a yellow star spinning in the night sky", 0),
    ("an orange fish moving right over the sea", 0),
    ("a pink heart growing over a blue sky", 0),
)


def main() -> None:
    pipeline = CascadePipeline.from_pretrained("lavie-tiny")
    rows = []
    for prompt, seed in PROMPTS:
        frames = pipeline(prompt, seed=seed).frames
        rows.append(np.concatenate(list(frames[:: (len(frames) - 1) // 3][:4]), axis=1))
        print(prompt, frames.shape)
    Image.fromarray(np.concatenate(rows)).save(ROOT / "docs" / "showcase.jpg", quality=88)


if __name__ == "__main__":
    main()
