"""Clips of an image before a camera: its subject does what their captions say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavie.errors import UsageError
from lavie.training.lora.camera import HOP, PAN, ZOOM, with_camera
from lavie.training.lora.data import CaptionedImage
from lavie.training.lora.settings import MOVES, NONE, LoraSettings, camera_move

SIZE, FRAMES = (64, 96), 16
WORDS = {
    **{"standing still": "still", "moving left": "left", "moving right": "right", "moving up": "up"},
    **{"moving down": "down", "growing": "nearer", "shrinking": "farther", "bouncing": "hop"},
}


def image(caption="a zwx over grass", place=(0.0, 0.0), size=SIZE):
    """A bright bar, twice as wide as high, on black; place: of its middle, down and right, in −1…1."""
    y = torch.linspace(-1, 1, size[0])[:, None] - place[0]
    x = (torch.linspace(-1, 1, size[1]) - place[1]) * size[1] / size[0]
    bar = ((x.abs() < 0.3) & (y.abs() < 0.15)).float() * 2 - 1
    return CaptionedImage("bar", caption, bar.expand(3, 1, *size))


def clips_of(words, move, count=4, shown=None):
    caption = f"a zwx {words} over grass"
    made = with_camera([shown or image(caption)], count, (0.75, 1), 5, SIZE, FRAMES, ((words, move),))
    assert [clip.caption for clip in made] == [caption] * count
    return [clip.pixels for clip in made]


def path_of(clip):
    """Of the bright pixels in every frame: where they are, in heights, and how many, each [frames]."""
    assert clip.shape == (3, FRAMES, *SIZE)
    bright = (clip[0] + 1) / 2
    area = bright.sum((1, 2))
    y, x = torch.arange(SIZE[0])[:, None] / SIZE[0], torch.arange(SIZE[1]) / SIZE[0]
    return (bright * y).sum((1, 2)) / area, (bright * x).sum((1, 2)) / area, area


@pytest.mark.parametrize(
    ("words", "down", "across"),
    [("moving left", 0, -1), ("moving right", 0, 1), ("moving up", -1, 0), ("moving down", 1, 0)],
)
def test_the_subject_goes_where_the_words_say(words, down, across):
    for clip in clips_of(words, WORDS[words]):
        seen_down, seen_across, area = path_of(clip)
        whole = area > 0.97 * area.max()  # none of it beyond the edge
        steps_down, steps_across = (path.diff()[whole[1:] & whole[:-1]] for path in (seen_down, seen_across))
        assert len(steps_down) > 3
        for steps, way, side in ((steps_down, down, 1.0), (steps_across, across, SIZE[1] / SIZE[0])):
            torch.testing.assert_close(steps, steps.mean().expand_as(steps), atol=0.004, rtol=0)
            assert PAN[0] * 0.6 * side < steps.mean() * way < PAN[1] * 1.1 * side if way else steps.abs().max() < 1e-3


def test_it_stands_still_in_each_clip_somewhere_else():
    clips = clips_of("standing still", "still")
    for clip in clips:
        assert torch.equal(clip, clip[:, :1].expand_as(clip))
    assert not torch.equal(clips[0], clips[1])


@pytest.mark.parametrize(("words", "way"), [("growing", 1), ("shrinking", -1)])
def test_it_grows_and_shrinks_evenly(words, way):
    for clip in clips_of(words, WORDS[words]):
        growth = way * path_of(clip)[2].sqrt().log()
        assert ZOOM[0] * 15 * 0.9 < growth[-1] - growth[0] < ZOOM[1] * 15 * 1.1


def test_it_hops():
    for clip in clips_of("bouncing", "hop"):
        down, across, _ = path_of(clip)
        assert across.std() < 1e-3
        assert HOP[0] * 0.8 < down.max() - down.min() < HOP[1] * 1.1
        assert (down.diff() > 0.005).any()
        assert (down.diff() < -0.005).any()


def test_an_image_that_says_none_of_the_words_is_before_a_hand_held_camera():
    says, says_nothing = image("a zwx, Growing, over grass"), image("a zwx outgrowing its pot")
    made = with_camera([says, says_nothing], 40, (0.75, 1), 5, SIZE, FRAMES, tuple(WORDS.items()))
    assert {clip.caption for clip in made[:40]} == {f"a zwx, {words}, over grass" for words in WORDS}
    assert {clip.caption for clip in made[40:]} == {says_nothing.caption}
    walked = with_camera([says, says_nothing], 40, (0.75, 1), 5, SIZE, FRAMES)
    assert all(torch.equal(clip.pixels, same.pixels) for clip, same in zip(made[40:], walked[40:], strict=True))


def test_an_image_of_what_no_camera_can_do_is_in_no_clip():
    """A hand's walk over it would have a caption that is not true."""
    turned, upright = image("a zwx Spinning over grass"), image("a zwx growing over grass")
    moves = (("spinning", "none"), ("growing", "nearer"))
    made = with_camera([turned, upright, image("a zwx")], 20, (0.75, 1), 5, SIZE, FRAMES, moves)
    assert [clip.caption for clip in made] == ["a zwx growing over grass"] * 20 + ["a zwx"] * 20
    alone = with_camera([upright], 20, (0.75, 1), 5, SIZE, FRAMES, moves[1:])
    assert all(path_of(clip.pixels)[2].diff().gt(0).all() for clip in alone)
    both = image("a zwx growing and spinning")
    with pytest.raises(UsageError, match="no clip to make: set handheld_share to 0"):
        with_camera([turned, both], 20, (0.75, 1), 5, SIZE, FRAMES, moves)


@pytest.mark.parametrize("order", [1, -1])
def test_the_longest_words_are_meant(order):
    moves = (("moving", "still"), ("moving left", "left"))[::order]
    made = with_camera([image("a zwx moving left")], 20, (0.75, 1), 5, SIZE, FRAMES, moves)
    assert {clip.caption for clip in made} == {"a zwx moving", "a zwx moving left"}


@given(st.text(max_size=20), st.sampled_from([*MOVES, "backwards", ""]))
def test_a_line_is_a_move_or_is_refused(words, move):
    line = f"{words}={move}"
    if words.strip() and move in MOVES:
        assert camera_move(line) == (words.strip(), move)
    else:
        with pytest.raises(UsageError, match="WORDS=MOVE"):
            camera_move(line)


def test_moves_need_clips():
    with pytest.raises(UsageError, match="handheld_share above 0"):
        LoraSettings(camera_moves=(("growing", "nearer"),))


@pytest.mark.parametrize("move", [move for move in MOVES if move != NONE])
def test_the_grain_of_a_large_image_does_not_flicker(move):
    size = (SIZE[0] * 8, SIZE[1] * 8)
    grain = (torch.arange(size[0])[:, None] // 3 + torch.arange(size[1]) // 3) % 2 * 2.0 - 1
    grey = CaptionedImage("grain", "a zwx moves over grass", grain.expand(3, 1, *size))
    (clip,) = clips_of("moves", move, 1, grey)
    assert clip[..., 8:-8, 8:-8].std() < 0.1
