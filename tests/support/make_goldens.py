"""Write tests/goldens/lavie-tiny.safetensors: what the bundled networks say today, for tests that run everywhere.

Run it again only when the bundled weights change: `python tests/support/make_goldens.py`.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "goldens" / "lavie-tiny.safetensors"
PROMPT = "a (red:1.2) ball moving left over green grass"
SHAPES = {"base": (1, 4, 8, 8, 12), "interpolation": (1, 8, 9, 5, 7), "upscaler": (1, 7, 5, 10, 12)}


def stages():
    """Every stage of the bundled family, by name."""
    from lavie.pipelines.stage import Stage

    return {name: Stage.load(name, "lavie-tiny", device="cpu") for name in SHAPES}


@torch.no_grad()
def predictions(stage, sample: torch.Tensor) -> torch.Tensor:
    """The UNet's answer to a sample at timestep 600, with the text of PROMPT."""
    labels = torch.tensor([20]) if stage.name == "upscaler" else None
    return stage.unet(sample, 600, stage.text_encoder.encode([PROMPT]), class_labels=labels)


def main() -> None:
    tensors = {}
    for name, stage in stages().items():
        sample = torch.randn(SHAPES[name], generator=torch.Generator().manual_seed(len(name)))
        tensors[f"{name}.sample"], tensors[f"{name}.out"] = sample, predictions(stage, sample)
        tensors[f"{name}.text"] = stage.text_encoder.encode([PROMPT])
    FILE.parent.mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, FILE)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
