"""A whole clip of the base at full size with random weights, text to frames, beside diffusers' AnimateDiffPipeline.

    python benchmarks/clip.py [--device auto|cpu|cuda] [--dtype float16] [--steps 50] [--runs 3] [--compile]
        [--height 320] [--width 512] [--json FILE]

16 frames, guidance on. Both share the VAE and the text encoder, and take turns in one process.
"""

import argparse
import sys
import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.lora_memory import HEIGHT, WIDTH, make_family
from benchmarks.measure import machine, save, spread, take_turns
from lavie import TextToVideoPipeline
from lavie.config import find_family
from lavie.runtime import choose_device
from lavie.runtime.compile import compile_blocks
from lavie.runtime.device import DTYPES

PROMPT, FRAMES = "a red ball moving left over green grass", 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--dtype", choices=DTYPES, help="default: float16 on a GPU, float32 on the CPU")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="ours compiled, too")
    parser.add_argument("--height", type=int, default=HEIGHT)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    device = choose_device(args.device)
    dtype = DTYPES[args.dtype or ("float32" if device.type == "cpu" else "float16")]
    with tempfile.TemporaryDirectory() as folder:
        make_family(Path(folder))
        ours = TextToVideoPipeline.from_pretrained(find_family(folder), device, dtype)
    settings = {"num_inference_steps": args.steps, "height": args.height, "width": args.width}
    cases = {
        "ours": lambda: ours(PROMPT, **settings),
        "AnimateDiffPipeline": animate_diff(ours, settings),
    }
    if args.compile:
        faster = TextToVideoPipeline(replace(ours.stage, unet=compile_blocks(deepcopy(ours.stage.unet))))
        cases["ours, compiled"] = lambda: faster(PROMPT, **settings)
    found = take_turns(cases, args.runs, device)
    results = {"machine": machine(device), "dtype": str(dtype), **settings, "cases": found}
    print(results["machine"])
    for name, case in found.items():
        ratios = [other / our for other, our in zip(case["seconds"], found["ours"]["seconds"], strict=True)]
        print(f"{name:22s}{case['median']:9.2f} s{spread(ratios):>26} over ours{case['peak'] / 1e9:8.2f} GB")
    save(results, args.json)


def animate_diff(ours: TextToVideoPipeline, settings: dict[str, int]):
    """The same clip by diffusers."""
    from diffusers import AnimateDiffPipeline, DDIMScheduler, UNetMotionModel

    stage = ours.stage
    unet = UNetMotionModel(cross_attention_dim=768, motion_max_seq_length=32).eval().to(stage.device, stage.dtype)
    pipeline = AnimateDiffPipeline(
        vae=stage.vae,
        text_encoder=stage.text_encoder.model,
        tokenizer=None,
        unet=unet,
        motion_adapter=None,
        scheduler=DDIMScheduler(beta_schedule="linear"),
    )
    pipeline.set_progress_bar_config(disable=True)
    texts = torch.randn(2, 1, 77, 768, device=stage.device, dtype=stage.dtype)

    def make():
        vae_dtype = stage.vae.dtype
        stage.vae.to(stage.dtype)
        made = pipeline(
            prompt_embeds=texts[0],
            negative_prompt_embeds=texts[1],
            num_frames=FRAMES,
            output_type="np",
            **settings,
        )
        stage.vae.to(vae_dtype)
        return made

    return make


if __name__ == "__main__":
    main()
