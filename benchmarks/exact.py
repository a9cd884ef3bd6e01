"""One forward of the full-size UNets with random weights: ours, the official data flow, and diffusers' AnimateDiff.

    python benchmarks/exact.py [--stage base interpolation upscaler] [--device auto|cpu|cuda] [--dtype float32]
        [--runs 3] [--compile] [--bfloat16] [--no-animatediff] [--full-size] [--frames N] [--json FILE]

The cases take turns in one process. Ratios are the other's seconds over ours, run by run. "of the matrix product" is
the arithmetic of a forward over what a square matrix product reaches in the same process.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import flops, machine, matrix_rate, save, spread, take_turns
from benchmarks.official_flow import OfficialFlow, fused, materialised
from benchmarks.released import UNETS
from lavie.models import build_unet
from lavie.runtime import choose_device
from lavie.runtime.device import DTYPES

# Latents [batch, channels, frames, height, width]. The base and interpolation as released; 8 frames of 1280×2048, one
# official chunk, on a GPU, and a sixteenth of that image on the CPU.
STAGES = {"base": (1, 4, 16, 40, 64), "interpolation": (1, 8, 61, 40, 64), "upscaler": (1, 7, 8, 320, 512)}
ON_CPU = {"interpolation": (1, 8, 61, 20, 32), "upscaler": (1, 7, 8, 80, 128)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--dtype", choices=DTYPES, help="default: bfloat16 on a GPU, float32 on the CPU")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="ours compiled, too")
    parser.add_argument("--bfloat16", action="store_true", help="ours in bfloat16, too")
    parser.add_argument("--no-animatediff", dest="compared", action="store_false", help="leave diffusers' out")
    parser.add_argument("--full-size", action="store_true", help="the released models' images on the CPU, too")
    parser.add_argument("--frames", type=int, metavar="N", help="other than the released models'")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    device = choose_device(args.device)
    dtype = DTYPES[args.dtype or ("float32" if device.type == "cpu" else "bfloat16")]
    results = {"machine": machine(device), "dtype": str(dtype), "stages": {}}
    print(results["machine"])
    for stage in args.stage:
        results["stages"][stage] = measure(stage, device, dtype, args)
        save(results, args.json)


@torch.no_grad()
def measure(stage: str, device: torch.device, dtype: torch.dtype, args: argparse.Namespace) -> dict:
    """Print and return one stage's table."""
    config, shape = UNETS[stage], STAGES[stage]
    shape = shape if args.full_size or device.type != "cpu" else ON_CPU.get(stage, shape)
    shape = (*shape[:2], args.frames or shape[2], *shape[3:])
    torch.manual_seed(0)
    unet = build_unet(config).eval().to(device, dtype)
    sample = torch.randn(shape, device=device, dtype=dtype)
    text = torch.randn(1, 77, config.cross_attention_dim, device=device, dtype=dtype)
    labels = None if config.num_class_embeds is None else torch.tensor([50], device=device)
    official = OfficialFlow(unet)
    cases = {
        "ours": lambda: unet(sample, 500, text, labels),
        "official": lambda: _with(official, materialised)(sample, 500, text, labels),
        "official, fused attention": lambda: _with(official, fused)(sample, 500, text, labels),
    }
    if args.compile:
        from lavie.runtime.compile import compile_blocks

        faster = compile_blocks(build_unet(config).eval())
        faster.load_state_dict(unet.state_dict(), assign=True)
        cases["ours, compiled"] = lambda: faster(sample, 500, text, labels)
    if args.bfloat16:
        half = build_unet(config).eval().to(device, torch.bfloat16)
        half.load_state_dict(unet.state_dict())
        given = sample.bfloat16(), 500, text.bfloat16(), labels
        cases["ours, bfloat16"] = lambda: half(*given)
    if stage == "base" and args.compared:
        cases["AnimateDiff"] = animate_diff(shape, device, dtype)
    work = flops(cases["ours"])
    rate = matrix_rate(device, dtype)
    found = take_turns(cases, args.runs, device)
    print(f"\n{stage} {list(shape)}, {work / 1e12:.2f} TFLOP; matrix product {rate / 1e12:.2f} TFLOP/s")
    print(f"{'':28s}{'seconds':>9}{'over ours':>26}{'of the matrix product':>23}{'peak GB':>9}")
    for name, case in found.items():
        pairs = zip(case["seconds"], found["ours"]["seconds"], strict=True)
        case["over ours"] = [other / ours for other, ours in pairs]
        case["of the matrix product"] = work / case["median"] / rate
        print(
            f"{name:28s}{case['median']:9.2f}{spread(case['over ours']):>26}{case['of the matrix product']:>23.0%}"
            f"{case['peak'] / 1e9:9.2f}",
            flush=True,
        )
    return {"shape": list(shape), "flops": work, "matrix rate": rate, "cases": found}


def _with(flow: OfficialFlow, core) -> OfficialFlow:
    flow.core = core
    return flow


def animate_diff(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype):
    """A forward of diffusers' AnimateDiff on Stable Diffusion 1.5 at the same shape."""
    from diffusers import UNetMotionModel

    unet = UNetMotionModel(cross_attention_dim=768, motion_max_seq_length=32).eval().to(device, dtype)
    sample = torch.randn(shape, device=device, dtype=dtype)
    texts = torch.randn(shape[0], 77, 768, device=device, dtype=dtype).repeat_interleave(shape[2], dim=0)
    return lambda: unet(sample, 500, texts)


if __name__ == "__main__":
    main()
