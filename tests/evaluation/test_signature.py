"""A subject of several colours is known by them, whatever else moves there."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool3d

from lab.sprites import SHAPES, SUBJECTS, render, render_backgrounds, signature
from lab.sprites.held_out import rendered_clips
from lab.sprites.judge import SpritePath
from lab.sprites.signature import nearest_sprite
from lab.sprites.suites.lora import COLOUR, appearing, subject_scenes
from lavie.models.latents import to_uint8

SUBJECT = "mushroom"
KNOWN = (*SHAPES, SUBJECT)
SCENES = [scene for scene in subject_scenes(63, 3, SUBJECT) if scene.background == "desert"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_subject_alone_is_the_subject(subject):
    for shape in (*SHAPES, subject):
        scenes = [replace(scene, shape=shape) for scene in SCENES[:3]]
        seen = [nearest_sprite(clip, COLOUR, (*SHAPES, subject)) for clip in rendered_clips(scenes, 4, 64, 96)]
        assert [name == subject for name in seen] == [shape == subject] * 3, shape


@pytest.mark.parametrize(("across", "down", "scale"), [(0.15, -0.15, 1.0), (-0.15, 0.0, 1.12), (0.0, 0.15, 0.9)])
def test_a_middle_that_is_a_little_off_is_found(monkeypatch, across, down, scale):
    """What the judge takes for the sprite is moved and resized before it is compared: the subject stays the subject."""
    found = signature.look

    def off(video, shapes):
        reading, sprite = found(video, shapes)
        radius = (sprite.path.area / math.pi).sqrt()
        path = SpritePath(sprite.path.x + across * radius, sprite.path.y + down * radius, sprite.path.area * scale**2)
        return reading, replace(sprite, path=path)

    scenes = SCENES[:4]
    for scene in scenes:
        signature._bank(COLOUR, KNOWN, scene.background)  # from where the sprites are
    clips = list(rendered_clips(scenes, 4, 64, 96))
    monkeypatch.setattr(signature, "look", off)
    assert [nearest_sprite(clip, COLOUR, KNOWN) for clip in clips] == [SUBJECT] * 4


def test_the_subject_in_one_colour_is_not_the_subject():
    clip = next(iter(rendered_clips(SCENES[:1], 4, 64, 96)))
    pale = (clip.min(-1) > 180) & (clip[..., 2] > 180)
    red = np.where(pale[..., None], np.array([200, 40, 50], np.uint8), clip)
    assert nearest_sprite(red, COLOUR, KNOWN) != SUBJECT


@pytest.mark.parametrize(("shape", "is_subject"), [(SUBJECT, True), ("fish", False), ("ball", False)])
def test_in_an_evening_light_the_subject_is_known_where_it_is_by_day(shape, is_subject):
    """A style makes the ground violet and gold and hardly touches the sprite; alone, the judge cannot find it there."""
    scenes = [replace(scene, shape=shape) for scene in subject_scenes(7, 3, SUBJECT)]
    videos = [render([scene], torch.linspace(0, 1, 4), 64, 96) for scene in scenes]
    by_day = [frames_of(video) for video, _ in videos]
    evening = [frames_of(in_evening_light(video, mask)) for video, mask in videos]
    assert appearing(evening, SUBJECT, by_day) == (1.0 if is_subject else 0.0)
    assert appearing(evening, SUBJECT) < 0.9


@pytest.mark.parametrize(("shape", "is_subject"), [("cat", True), ("heart", False), ("star", False)])
def test_a_blurred_and_noisy_subject_in_evening_light_is_the_subject(shape, is_subject):
    generator = torch.Generator().manual_seed(5)
    by_day, evening = [], []
    for scene in (scene for scene in subject_scenes(63, 3, "cat") if scene.background == "sunset"):
        video, mask = render([replace(scene, shape=shape)], torch.linspace(0, 1, 4), 64, 96)
        for made, clip in ((by_day, video), (evening, in_evening_light(video, mask))):
            blurred = avg_pool3d(clip, (1, 5, 5), 1, (0, 2, 2), count_include_pad=False)
            made.append(frames_of((blurred + 0.1 * torch.randn(clip.shape, generator=generator)).clamp(-1, 1)))
    assert appearing(evening, "cat", by_day) == (1.0 if is_subject else 0.0)


def in_evening_light(video: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[1, 3, f, h, w] in −1…1, the sprite, [1, 1, f, h, w], less so."""
    image = (video + 1) / 2
    violet, gold = torch.tensor([[0.32, 0.12, 0.28], [1.0, 0.75, 0.5]])[:, None, :, None, None, None]
    graded = torch.lerp(image, torch.lerp(violet, gold, image.mean(1, keepdim=True)), 0.85 - 0.6 * mask)
    return graded * 2 - 1


def frames_of(video: torch.Tensor) -> np.ndarray:
    return to_uint8(video)[0].permute(1, 2, 3, 0).numpy()


def test_where_nothing_is_seen_there_is_no_sprite():
    bare = render_backgrounds(SCENES[:1], 64, 96)[0].permute(1, 2, 0) * 255
    assert nearest_sprite(bare.byte().expand(4, -1, -1, -1), COLOUR, KNOWN) is None
