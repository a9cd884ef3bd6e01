"""Rendered images for autoencoders: crops around sprites, later whole images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lavie.errors import UsageError
from lavie.training.data import Clip, ClipRequest, ClipSource, DataReport, Mixture, TrainingData
from lavie.training.data.randomness import draw, generator_of, uniform

from ..sprites import COLOURS, STILL_COLOURS, Scene, caption, render, sample_scene
from .recipes import AutoencoderRecipe

COUNT = 65536
MAX_SPRITES = 3
SPECIAL_SHARE = 0.5  # of sprites whose colour is drawn from all, those that no clip shows included
SPRITE_SHARE = 0.75  # of crops that lie around a point of a sprite


class RenderedImages(ClipSource):
    """`count` rendered images that belong to `seed`, of one to three sprites, so that every batch shows many colours.

    Each reading shows the scenes of a row at other moments. height, width: pixels of the images that a request for a
    "patch" gets a window of, most often around a sprite; others get the whole image in their own size.
    """

    def __init__(self, height: int, width: int, seed: int = 0, count: int = COUNT) -> None:
        self.height, self.width, self.seed, self.count = height, width, seed, count
        self.name = "pictures"
        self.report = DataReport(self.name, kept=count)

    def __len__(self) -> int:
        return self.count

    def scenes(self, row: int) -> list[Scene]:
        """What the image shows, one over the other; the background is that of the first."""
        generator = generator_of(self.seed, self.name, row)
        return [_scene(generator) for _ in range(1 + draw(generator, MAX_SPRITES))]

    def caption(self, row: int, generator: torch.Generator) -> str:
        return caption(self.scenes(row)[0], generator, still=True)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        if request.num_frames != 1:
            raise UsageError(f"{self.name} are no clips of {request.num_frames} frames.")
        text, scenes = self.caption(row, generator), self.scenes(row)
        if request.crop != "patch":
            image, mask = _painted(scenes, request.height, request.width, generator)
        else:
            image, mask = _painted(scenes, self.height, self.width, generator)
            rows, columns = _crop_around(mask[0], request, generator)
            image, mask = image[:, rows, columns].clone(), mask[:, rows, columns].clone()
        return Clip(text, f"image {row}", {"video": image[:, None], "mask": mask[:, None]})

    def fingerprint(self) -> str:
        first = [self.scenes(row) for row in range(8)]  # they change with the renderer's world
        return f"{self.count} {self.height}x{self.width} {self.seed} {generator_of(repr(first)).initial_seed():x}"


@dataclass(frozen=True)
class ImageRequest:
    """What each of `steps` steps sees: crops, and whole images towards the end."""

    recipe: AutoencoderRecipe
    steps: int

    def __call__(self, step: int) -> ClipRequest:
        if step < self.recipe.whole_from * self.steps:
            return ClipRequest(1, self.recipe.crop, self.recipe.crop, crop="patch")
        return ClipRequest(1, *self.recipe.whole_size)


def image_data(recipe: AutoencoderRecipe, steps: int, batch_size: int, seed: int) -> TrainingData:
    """The examples of a run: one image each, "video" [3, 1, h, w] with its "mask" [1, 1, h, w]."""
    images = RenderedImages(recipe.height, recipe.width, seed)
    return TrainingData(Mixture([images]), ImageRequest(recipe, steps), batch_size, seed)


def whole_images(recipe: AutoencoderRecipe, count: int, seed: int) -> Tensor:
    """Some whole images [count, 3, h, w] in −1…1, the same for the same seed."""
    source, request = RenderedImages(recipe.height, recipe.width, seed), ClipRequest(1, *recipe.whole_size)
    clips = [source.read(row, request, generator_of(seed, "whole", row)) for row in range(count)]
    return torch.stack([clip.tensors["video"][:, 0] for clip in clips])


def _scene(generator: torch.Generator) -> Scene:
    colours = (*COLOURS, *STILL_COLOURS)
    colour = colours[draw(generator, len(colours))] if uniform(generator) < SPECIAL_SHARE else None
    return sample_scene(generator, colour=colour)


def _painted(scenes: list[Scene], height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The image [3, height, width] and its sprites' coverage [1, height, width], each at a moment of its own."""
    frames = [render([scene], torch.rand(1, generator=generator), height, width) for scene in scenes]
    (image, mask), *others = [(video[0, :, 0], cover[0, :, 0]) for video, cover in frames]
    for other, cover in others:
        image, mask = image.lerp(other, cover), torch.maximum(mask, cover)
    return image, mask


def _crop_around(mask: Tensor, request: ClipRequest, generator: torch.Generator) -> tuple[slice, slice]:
    """Rows and columns around a point, inside an image whose sprites `mask` [h, w] shows.

    Raises:
        UsageError: the window is larger than the image.
    """
    size = (request.height, request.width)
    if size[0] > mask.shape[0] or size[1] > mask.shape[1]:
        raise UsageError(f"Crops of {size[0]}x{size[1]} are larger than images of {mask.shape[0]}x{mask.shape[1]}.")
    inside = mask.nonzero()
    if uniform(generator) < SPRITE_SHARE and len(inside):
        point = inside[draw(generator, len(inside))].tolist()
    else:
        point = [draw(generator, side) for side in mask.shape]
    rows, columns = (_span(*values) for values in zip(point, size, mask.shape, strict=True))
    return rows, columns


def _span(centre: int, length: int, side: int) -> slice:
    first = min(max(centre - length // 2, 0), side - length)
    return slice(first, first + length)
