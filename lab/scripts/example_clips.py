"""Make the clips of the node LaVie Example Video (lavie/examples/) with the renderer that lavie-tiny learned from."""

from pathlib import Path

import torch

from lab.scripts.train_subject_lora import images
from lab.sprites import frame_times, render, sample_scene
from lavie.video import write_video

ROOT = Path(__file__).resolve().parents[2]
CLIPS = {
    "red ball over grass": ("red", "ball", "moving right", "green grass"),
    "yellow star at night": ("yellow", "star", "moving left", "night sky"),
    "white bird over the sea": ("white", "bird", "moving left", "sea"),
}


def main() -> None:
    folder = ROOT / "lavie" / "examples"
    folder.mkdir(exist_ok=True)
    for name, (colour, shape, motion, background) in CLIPS.items():
        scene = sample_scene(torch.Generator().manual_seed(3), False, colour, shape, motion, background)
        video, _ = render([scene], frame_times(16), 64, 96)
        frames = ((video[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1) * 255).round().byte().numpy()
        write_video(folder / f"{name}.mp4", frames, fps=8, quality=95)
    stills = torch.stack([pixels for pixels, _ in images("cat")])
    write_video(folder / "twelve pictures of a cat.mp4", stills.numpy(), fps=1, quality=95)


if __name__ == "__main__":
    main()
