"""VIDEO: from the host's file reader through LaVie's nodes to the host's encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.input_impl import VideoFromFile
from figures import on_node
from support.graph import PROMPT, decode, run, stage, wires
from support.sound import tracks, with_sound


def video_through_the_later_stages() -> dict[str, Any]:
    """Codec and seconds of every stream: of the source, and of what Save Video would write; and what the node says."""
    source, found = with_sound(Path("in.mp4"), seconds=1, size="32x24"), {}
    found["source"] = tracks(source)
    for name, node in {"interpolation": "LaVieTemporalInterpolator", "upscaler": "LaVieVideoUpscaler"}.items():
        given = {**wires(name), "vae": stage(name).vae, "steps": 1, "images": VideoFromFile(str(source))}
        run(node, **given)[-1].save_to(f"{name}.mp4")
        found[name] = tracks(f"{name}.mp4")
    odd = VideoFromFile(str(source)).get_components().images[:2, :23, :31]
    with on_node("7") as said:
        kind = "LaVieTemporalInterpolator"
        video = run(kind, **wires("interpolation"), vae=stage("interpolation").vae, images=odd, steps=1)[-1]
    video.save_to("odd.mp4")
    return {**found, "odd": tracks("odd.mp4"), "said": said}


def text_to_video() -> dict[str, Any]:
    """One node against the nodes of the stages, with the host's MODELs; streams and seconds of what is saved."""
    size, shared = {"width": 48, "height": 32}, {"seed": 5, "steps": 2}
    latent, fps = run("LaVieBaseSampler", **wires("base"), **size, **shared, num_frames=2)
    video, name = decode(latent["samples"]), "interpolation"
    given = {**wires(name), "vae": stage(name).vae, "seed": 5, "images": video, "fps": fps}
    theirs, name = run("LaVieTemporalInterpolator", **given)[-1], "upscaler"
    theirs, _ = run("LaVieVideoUpscaler", **wires(name), vae=stage(name).vae, seed=5, images=theirs)
    ((made,), (images,), (rate,)) = run("LaVieTextToVideo", **size, **shared, prompt=PROMPT, length=2)
    made.save_to("text_to_video.mp4")
    return {
        "difference": (images - theirs).abs().max().item(),
        "shape": list(images.shape),
        "fps": rate,
        "tracks": tracks("text_to_video.mp4"),
    }


CHECKS = (
    text_to_video,
    video_through_the_later_stages,
)
