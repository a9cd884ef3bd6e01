"""The table of stages: what is true of each, whatever its weights. Code tells stages apart by this table only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageSpec:
    """One row of `STAGES`.

    in_channels: of its UNet, in all forms. vae_factor: pixels per latent pixel along an edge. min_frames: of its
    input. key_frame_distance: output frames from one input frame to the next. enlargement: of height and width.
    windowed, tiled: it works in windows of frames, in tiles of the image. encodes: input frames go through the VAE.
    takes_loras: those of Stable Diffusion 1.x fit. takes_controls: its ControlNets and T2I-Adapters do. needs_prompt:
    an empty prompt is a mistake. optional: a family may lack it. node: the node that samples it.
    """

    name: str
    in_channels: tuple[int, ...]
    node: str
    vae_factor: int = 8
    min_frames: int = 1
    key_frame_distance: int = 1
    enlargement: int = 1
    windowed: bool = False
    tiled: bool = False
    encodes: bool = False
    takes_loras: bool = True
    takes_controls: bool = False
    needs_prompt: bool = False
    optional: bool = False

    def frames_made(self, num_frames: int) -> int:
        """The number of output frames for a number of input frames."""
        return self.key_frame_distance * (num_frames - 1) + 1

    def latents_of(self, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Frames, height and width of the latents that are denoised for input frames of that size (base: for output
        frames)."""
        factor = self.vae_factor // self.enlargement
        return self.frames_made(num_frames), -(-height // factor), -(-width // factor)

    def rate_made(self, num_frames: int, fps: float) -> float:
        """The frame rate at which the output lasts as long as the input of so many frames at `fps`."""
        return fps * self.frames_made(num_frames) / num_frames


# Noisy latents alone; beside those of a frame (the paper, section 5.6), or of a mask and the masked video (SEINE).
PLAIN, FIRST_FRAME, MASK = 4, 8, 9

STAGES: dict[str, StageSpec] = {
    spec.name: spec
    for spec in (
        StageSpec("base", (PLAIN,), "LaVie Base Sampler", takes_controls=True, needs_prompt=True),
        StageSpec(
            "interpolation",
            (8,),
            "LaVie Frame Interpolation",
            min_frames=2,
            key_frame_distance=4,
            windowed=True,
            encodes=True,
        ),
        StageSpec(
            "upscaler",
            (7,),
            "LaVie Video Upscaler",
            vae_factor=4,
            enlargement=4,
            windowed=True,
            tiled=True,
            takes_loras=False,
        ),
        StageSpec(
            "extension", (FIRST_FRAME, MASK), "LaVie Image to Video", encodes=True, takes_controls=True, optional=True
        ),
    )
}
CASCADE = ("base", "interpolation", "upscaler")
VAE_FACTOR = STAGES["base"].vae_factor  # of every stage but the upscaler
