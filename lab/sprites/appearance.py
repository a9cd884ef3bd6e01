"""How synthetic clips look: typical backgrounds, and how likely a colour is on a sprite, its trail or the
ground. Measured once on rendered clips, sharp ones and blurred, noisy ones, for the judge to compare with.
"""

import math
from dataclasses import replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from . import (
    BACKGROUNDS,
    COLOURS,
    MOTIONS,
    SHAPES,
    STILL_COLOURS,
    Scene,
    render,
    render_backgrounds,
    sample_scene,
)
from .backgrounds import paint
from .scene import UNREADABLE

HEIGHT, WIDTH = 64, 96
EVERY_COLOUR = (*COLOURS, *STILL_COLOURS)
BINS = 16
BANDS = 4


def profile(frames: Tensor) -> Tensor:
    """The median colour of each of 16 bands of rows of frames [f, 3, 64, 96]: [16, 3].

    The median over all frames and columns ignores a sprite, which covers less than half of a band.
    """
    bands = frames.permute(2, 1, 0, 3).reshape(16, HEIGHT // 16, 3, -1).transpose(1, 2)
    return bands.reshape(16, 3, -1).median(-1).values


def nearest_background(frames: Tensor) -> str:
    """The background whose profile is nearest to that of frames [f, 3, 64, 96] in 0…1."""
    seen = profile(frames)
    profiles = _background_profiles()
    return min(profiles, key=lambda name: (profiles[name] - seen).abs().mean().item())


def sprite_evidence(frames: Tensor, background: str) -> tuple[Tensor, Tensor]:
    """For every pixel of [f, 3, 64, 96] two log-likelihood ratios for each colour, each [f, colours, 64, 96].

    The first compares a sprite of that colour with the background or its trail, whichever explains the pixel better:
    where is it? The second compares the best of sprite, trail and background with the background: is it that colour?
    """
    grounds, sprites, trails = _densities()
    index = _bins(frames)
    bands = torch.arange(HEIGHT) * BANDS // HEIGHT
    ground = grounds[background][bands[None, :, None], index]
    sprite = torch.stack([density[index] for density in sprites], dim=1)
    trail = torch.stack([density[index] for density in trails[background]], dim=1)
    elsewhere = torch.maximum(ground[:, None], trail)
    return sprite - elsewhere, torch.maximum(sprite, elsewhere) - ground[:, None]


@lru_cache(maxsize=1)
def _background_profiles() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(77)
    profiles = {}
    for background in BACKGROUNDS:
        scenes = [sample_scene(generator, background=background) for _ in range(12)]
        images = render_backgrounds(scenes, HEIGHT, WIDTH)
        profiles[background] = torch.stack([profile(image[None]) for image in images]).mean(0)
    return profiles


@lru_cache(maxsize=1)
def _densities() -> tuple[dict[str, Tensor], list[Tensor], dict[str, list[Tensor]]]:
    """Log-densities over BINS³ colours: by background and band of rows, by sprite, by background and trail."""
    generator = torch.Generator().manual_seed(78)
    empty = torch.zeros(0, dtype=torch.long)
    sprites = [[empty] for _ in EVERY_COLOUR]
    grounds, trails = {}, {}
    for background in BACKGROUNDS:
        scenes = _examples(generator, background)
        bare = render_backgrounds(scenes, HEIGHT, WIDTH)[:, :, None]
        video, mask = render(scenes, torch.tensor([0.1, 0.8]), HEIGHT, WIDTH)
        video = (video + 1) / 2
        trail = (mask[:, 0] < 0.05) & ((video - bare).abs().amax(1) > 0.06)
        sprite, trail = _twice(mask[:, 0] > 0.6), _twice(trail)
        index, ground = _bins(_sharp_and_soft(video)), _bins(_sharp_and_soft(_views(scenes)))
        trail_parts = [[empty] for _ in EVERY_COLOUR]
        for i, scene in enumerate(scenes):
            sprites[EVERY_COLOUR.index(scene.colour)].append(index[i][sprite[i]])
            trail_parts[EVERY_COLOUR.index(scene.colour)].append(index[i][trail[i]])
        bands = ground.unflatten(2, (BANDS, -1)).unbind(2)
        grounds[background] = torch.stack([_log_density(band.flatten()) for band in bands])
        trails[background] = [torch.cat(parts) for parts in trail_parts]
    anywhere = [_log_density(torch.cat([trails[b][c] for b in BACKGROUNDS])) for c in range(len(EVERY_COLOUR))]
    for background, parts in trails.items():
        trails[background] = [
            torch.logaddexp(_log_density(here), everywhere) - math.log(2) if len(here) else everywhere
            for here, everywhere in zip(parts, anywhere, strict=True)
        ]
    return grounds, [_log_density(torch.cat(parts)) for parts in sprites], trails


def _examples(generator: torch.Generator, background: str) -> list[Scene]:
    """Scenes of every readable colour in every motion, the shapes taking turns."""
    colours = [colour for colour in EVERY_COLOUR if (colour, background) not in UNREADABLE]
    pairs = [(colour, motion) for colour in colours for motion in MOTIONS]
    scenes = []
    for i, (colour, motion) in enumerate(pairs):
        scene = sample_scene(generator, motion=motion, background=background)
        scenes.append(replace(scene, colour=colour, shape=SHAPES[i % len(SHAPES)]))
    return scenes


def _views(scenes: list[Scene]) -> Tensor:
    """Their backgrounds at rest and as a camera that zooms in sees them: [scenes, 3, views, 64, 96] in 0…1."""
    seeds = torch.tensor([scene.seed for scene in scenes])
    views = [
        paint(scenes[0].background, seeds, HEIGHT, WIDTH, view=torch.full(seeds.shape, share))
        for share in (1.0, 0.8, 0.65)
    ]
    return torch.stack(views, dim=2)


def _sharp_and_soft(video: Tensor) -> Tensor:
    """[n, 3, f, h, w] → twice the frames: as they are, and blurred with a little noise."""
    soft = F.avg_pool3d(video, (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)
    noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(5))
    return torch.cat([video, (soft + 0.015 * noise).clamp(0, 1)], dim=2)


def _twice(mask: Tensor) -> Tensor:
    return torch.cat([mask, mask], dim=1)


def _bins(images: Tensor) -> Tensor:
    """The index of every pixel's colour among BINS³; colours stand in dimension 1, which goes."""
    level = (images * BINS).long().clamp_(0, BINS - 1)
    red, green, blue = level.unbind(1)
    return (red * BINS + green) * BINS + blue


def _log_density(index: Tensor) -> Tensor:
    """The log-density of colours, smoothed so that neighbouring colours count too, [BINS³]."""
    counts = torch.bincount(index, minlength=BINS**3).float().view(1, 1, BINS, BINS, BINS)
    narrow = F.avg_pool3d(counts, 3, 1, 1)
    wide = F.avg_pool3d(narrow, 5, 1, 2)
    density = 0.85 * narrow + 0.15 * wide
    return ((density / density.sum().clamp_min(1)).flatten() + 1e-6).log()
