"""`lavie evaluate synthetic`: prompt-faithfulness of a family's base stage."""

from __future__ import annotations

import argparse
import json
import sys

HELP = "measure how faithful generated clips are to their prompts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", choices=("synthetic",), help="held-out combinations of the synthetic world")
    parser.add_argument("--model", default="lavie-tiny", help="family name or folder (default: lavie-tiny)")
    parser.add_argument("--prompts", type=int, default=200, help="how many held-out prompts (default: 200)")
    parser.add_argument("--seed", type=int, default=1000, help="decides prompts and noise (default: 1000)")
    parser.add_argument("--steps", type=int, help="sampling steps (default: the model's)")
    parser.add_argument("--guidance-scale", type=float, help="guidance (default: the model's)")
    parser.add_argument("--batch", type=int, default=8, help="clips at a time (default: 8)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..pipelines import TextToVideoPipeline
    from .synthetic import generated_clips, held_out_scenes, rendered_clips, score, word_swap_gap

    scenes = held_out_scenes(args.prompts, args.seed)
    pipeline = TextToVideoPipeline.from_pretrained(args.model, device="cpu")
    config = pipeline.stage.config
    with tqdm(total=len(scenes), desc="clips", file=sys.stderr) as bar:
        clips = generated_clips(
            pipeline,
            scenes,
            args.seed,
            args.batch,
            progress=lambda done, total: bar.update(done - bar.n),
            num_inference_steps=args.steps,
            guidance_scale=args.guidance_scale,
        )
        generated = score(scenes, clips)
    real = score(scenes, rendered_clips(scenes, config.num_frames, config.height, config.width))
    gap = word_swap_gap(pipeline, 32, args.seed)
    if args.json:
        print(json.dumps({"prompts": generated.count, "generated": generated.shares, "judge": real.shares, "gap": gap}))
        return 0
    print(f"{'attribute':<12}{'generated':>10}{'judge on real clips':>22}   ({generated.count} held-out prompts)")
    for name, share in generated.shares.items():
        print(f"{name:<12}{share:>10.1%}{real.shares[name]:>22.1%}")
    print(f"word-swap gap of the direction words: {gap:+.2%}")
    return 0
