"""Trains the two small image autoencoders of lavie-tiny on rendered pictures; runs resume where they stopped.

Plain L1 + MSE decodes red as orange, so sprites weigh more than background, and colours are compared block by
block as well as pixel by pixel. At first the latents are also guided towards the blocks' mean colours, which they
would otherwise find only late.
"""

import json
import math
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from .muon import Muon
from .synthetic import COLOURS, STILL_COLOURS, render, sample_scene
from .synthetic.scene import choice, uniform


@dataclass(frozen=True)
class AutoencoderRecipe:
    """What is trained on which pictures.

    Every picture gives two squares of `crop` pixels, most of them around a sprite. From the fraction `whole_from`
    of the run on, pictures stay whole, at `whole_scale` of their size: group norms have other statistics there,
    and a model that saw crops alone shifts the colours of whole pictures. With `decoder_only` the encoder stays
    as it is, so that latents keep their meaning, and the decoder learns more detail from latents with noise of
    `decoder_noise` (scaled).
    """

    block_out_channels: tuple[int, ...]
    mid_attention: bool
    height: int
    width: int
    crop: int = 48
    whole_from: float = 0.85
    whole_scale: float = 1.0
    whole_batch_size: int = 8
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup: int = 100
    average_decay: float = 0.995
    sprite_weight: float = 6.0
    block_weight: float = 2.0
    edge_weight: float = 0.5
    norm_groups: int = 2
    muon: bool = True
    kl_weight: float = 1e-6
    guide_weight: float = 0.5
    guide_until: float = 0.2
    decoder_only: bool = False
    decoder_noise: float = 0.0


RECIPES = {
    "vae": AutoencoderRecipe((16, 32, 64, 96), mid_attention=True, height=64, width=96),
    "upscaler-vae": AutoencoderRecipe(
        (16, 32, 64), False, height=256, width=384, whole_from=0.65, whole_scale=0.5, whole_batch_size=2
    ),
}
RECIPES["vae-decoder"] = replace(
    RECIPES["vae"],
    learning_rate=1e-3,
    whole_from=0.0,
    whole_batch_size=4,
    guide_weight=0.0,
    decoder_only=True,
    decoder_noise=0.03,
)


def build(recipe: AutoencoderRecipe) -> AutoencoderKL:
    """A diffusers AutoencoderKL with four latent channels and one layer per block."""
    levels = len(recipe.block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=recipe.block_out_channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=recipe.norm_groups,
        sample_size=max(recipe.height, recipe.width),
        mid_block_add_attention=recipe.mid_attention,
    )


def pictures(generator: torch.Generator, recipe: AutoencoderRecipe, whole: bool = False) -> tuple[Tensor, Tensor]:
    """A batch of pictures [b, 3, h, w] in −1…1 with their sprites' coverage [b, 1, h, w].

    Most hold one or two sprites more than a clip does, so that every batch shows many colours.
    """
    if whole:
        scale = recipe.whole_scale
        recipe = replace(recipe, height=round(recipe.height * scale), width=round(recipe.width * scale))
        samples = [_picture(generator, recipe) for _ in range(recipe.whole_batch_size)]
    else:
        crops = [_crops(generator, recipe, *_picture(generator, recipe)) for _ in range(recipe.batch_size // 2)]
        samples = [sample for pair in crops for sample in pair]
    return torch.stack([s[0] for s in samples]), torch.stack([s[1] for s in samples])


def _picture(generator: torch.Generator, recipe: AutoencoderRecipe) -> tuple[Tensor, Tensor]:
    picture, mask = _frame(generator, recipe)
    for _ in range(torch.randint(3, (), generator=generator).item()):
        other, cover = _frame(generator, recipe)
        picture = picture.lerp(other, cover)
        mask = torch.maximum(mask, cover)
    return picture, mask


def _crops(generator: torch.Generator, recipe: AutoencoderRecipe, picture: Tensor, mask: Tensor) -> list[tuple]:
    corners = [_crop_corner(generator, mask, recipe) for _ in range(2)]
    windows = [(..., slice(top, top + recipe.crop), slice(left, left + recipe.crop)) for top, left in corners]
    return [(picture[window], mask[window]) for window in windows]


def _frame(generator: torch.Generator, recipe: AutoencoderRecipe) -> tuple[Tensor, Tensor]:
    moment = torch.rand(1, generator=generator)
    colour = choice(generator, (*STILL_COLOURS, *COLOURS)) if uniform(generator, 0, 1) < 0.5 else None
    video, mask = render([sample_scene(generator, colour=colour)], moment, recipe.height, recipe.width)
    return video[0, :, 0], mask[0, :, 0]


def _crop_corner(generator: torch.Generator, mask: Tensor, recipe: AutoencoderRecipe) -> tuple[int, int]:
    """Three crops of four lie around a point of a sprite, the others anywhere."""
    if uniform(generator, 0, 1) < 0.75:
        inside = mask[0].flatten().nonzero()[:, 0]
        point = inside[torch.randint(len(inside), (), generator=generator)].item()
    else:
        point = torch.randint(mask.numel(), (), generator=generator).item()
    corner = []
    for centre, size in ((point // recipe.width, recipe.height), (point % recipe.width, recipe.width)):
        corner.append(min(max(centre - recipe.crop // 2, 0), size - recipe.crop))
    return corner[0], corner[1]


def loss(
    model: AutoencoderKL, picture: Tensor, mask: Tensor, noise: Tensor, recipe: AutoencoderRecipe, guide: float = 0.0
) -> dict:
    """The terms of the objective and their weighted sum under `total`.

    `noise` has the latents' shape; `guide` weighs the distance of three latent channels from the mean colours.
    """
    posterior = model.encode(picture).latent_dist
    spread = recipe.decoder_noise / model.config.scaling_factor if recipe.decoder_only else posterior.std
    decoded = model.decode(posterior.mean + spread * noise).sample
    error = decoded - picture
    weight = 1 + (recipe.sprite_weight - 1) * mask
    pixel = (weight * (error.abs() + error**2)).sum() / (weight.sum() * 3)
    blocks = F.avg_pool2d(error, 8).abs().mean()
    sprite_blocks = F.avg_pool2d(error * mask, 8).abs().sum() / (3 * F.avg_pool2d(mask, 8).sum() + 1)
    edges = _edge_error(error, weight)
    kl = posterior.kl().mean()
    colour = blocks + sprite_blocks
    means = F.adaptive_avg_pool2d(picture, posterior.mean.shape[-2:])
    colours = (posterior.mean[:, :3] - 2 * means).abs().mean()
    total = pixel + recipe.block_weight * colour + recipe.edge_weight * edges + recipe.kl_weight * kl + guide * colours
    return {"total": total, "pixel": pixel, "colour": colour, "edges": edges, "kl": kl, "guide": colours}


def _edge_error(error: Tensor, weight: Tensor) -> Tensor:
    across = (error.diff(dim=-1).abs() * weight[..., 1:]).sum()
    down = (error.diff(dim=-2).abs() * weight[..., 1:, :]).sum()
    return (across + down) / (6 * weight.sum())


def learning_rate(recipe: AutoencoderRecipe, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine down to 1 % of the peak."""
    rise = min(1.0, (step + 1) / recipe.warmup)
    fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
    return recipe.learning_rate * rise * fall


def train(
    recipe: AutoencoderRecipe,
    folder: Path,
    steps: int,
    seed: int = 0,
    device: str = "cpu",
    start: Path | None = None,
    save_every: int = 100,
) -> AutoencoderKL:
    """Trains to `steps` steps and returns the averaged model; continues from `folder`/checkpoint.pt if there.

    A fresh run begins with the weights in the folder `start` when given. Appends a line of averages to
    `folder`/log.jsonl whenever it saves. The same seed gives the same run.
    """
    torch.manual_seed(seed)
    model = build(recipe).to(device)
    if start:
        source = AutoencoderKL.from_pretrained(start)
        model.load_state_dict(source.state_dict())
        model.register_to_config(scaling_factor=source.config.scaling_factor)
    for part in (model.encoder, model.quant_conv):
        part.requires_grad_(not recipe.decoder_only)
    run = {
        "model": model,
        "average": deepcopy(model).requires_grad_(False),
        **_optimizers(model, recipe),
    }
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    first, seconds = _resume(folder / "checkpoint.pt", run, generator)
    started, sums = time.monotonic(), {}
    for step in range(first, steps):
        whole = step >= recipe.whole_from * steps
        terms = _step(run, recipe, *pictures(generator, recipe, whole), generator, (step, steps))
        sums = {name: sums.get(name, 0.0) + value.item() for name, value in terms.items()}
        if (step + 1) % save_every == 0 or step + 1 == steps:
            spent = seconds + time.monotonic() - started
            _save(folder / "checkpoint.pt", run, generator, step + 1, spent)
            count = step % save_every + 1
            line = {"step": step + 1, "seconds": round(spent, 1)}
            line |= {name: round(value / count, 5) for name, value in sums.items()}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            sums = {}
    return run["average"].eval()


def _optimizers(model: AutoencoderKL, recipe: AutoencoderRecipe) -> dict:
    """AdamW for vectors, and Muon for the weights of convolutions where the recipe says so."""
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = [p for p in trained if recipe.muon and p.ndim >= 2]
    vectors = [p for p in trained if not recipe.muon or p.ndim < 2]
    optimizers = {"adamw": torch.optim.AdamW(vectors, betas=(0.9, 0.99), weight_decay=1e-3)}
    return optimizers | ({"muon": Muon(weights)} if weights else {})


def _step(
    run: dict,
    recipe: AutoencoderRecipe,
    picture: Tensor,
    mask: Tensor,
    generator: torch.Generator,
    progress: tuple[int, int],
) -> dict:
    step, steps = progress
    device = next(run["model"].parameters()).device
    factor = 2 ** (len(recipe.block_out_channels) - 1)
    size = (len(picture), 4, picture.shape[-2] // factor, picture.shape[-1] // factor)
    noise = torch.randn(size, generator=generator)
    guide = recipe.guide_weight * max(0.0, 1 - step / (recipe.guide_until * steps))
    terms = loss(run["model"], picture.to(device), mask.to(device), noise.to(device), recipe, guide)
    optimizers = [run[name] for name in ("muon", "adamw") if name in run]
    run["model"].zero_grad(set_to_none=True)
    terms["total"].backward()
    torch.nn.utils.clip_grad_norm_(run["model"].parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, steps)
        optimizer.step()
    decay = min(recipe.average_decay, (step + 1) / (step + 10))
    for average, current in zip(run["average"].parameters(), run["model"].parameters(), strict=True):
        average.lerp_(current.detach(), 1 - decay)
    return {name: value.detach() for name, value in terms.items()}


def _save(path: Path, run: dict, generator: torch.Generator, step: int, seconds: float) -> None:
    state = {name: part.state_dict() for name, part in run.items()}
    state |= {"generator": generator.get_state(), "step": step, "seconds": seconds}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(path: Path, run: dict, generator: torch.Generator) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in run.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    return state["step"], state["seconds"]


@torch.no_grad()
def latent_scale(model: AutoencoderKL, recipe: AutoencoderRecipe, batches: int = 8, seed: int = 1) -> float:
    """The scaling factor: 1 / standard deviation of the latents' means over rendered pictures."""
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    batch = torch.cat([pictures(generator, recipe, whole=True)[0] for _ in range(batches)])
    means = [model.encode(picture[None].to(device)).latent_dist.mean for picture in batch]
    return 1 / torch.cat(means).std().item()


def export(model: AutoencoderKL, recipe: AutoencoderRecipe, folder: Path) -> float:
    """Writes a diffusers folder in float16 and returns its scaling factor, measured unless the encoder was kept."""
    factor = model.config.scaling_factor if recipe.decoder_only else round(latent_scale(model, recipe), 5)
    model.register_to_config(scaling_factor=factor)
    model.half().save_pretrained(folder, safe_serialization=True)
    model.float()
    return factor
