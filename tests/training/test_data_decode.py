"""Frames are taken by their own times, whatever the container, the rate or the reader; what is broken is refused."""

import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_version
from PIL import Image
from support.films import H264, ffmpeg, make_film, numbered, numbers_in

from lavie.training.data import ClipRequest, UnreadableClip, decode, ffmpeg_reader
from lavie.training.data.geometry import fit
from lavie.training.data.timing import Listing, choose_frames

NAMES = ["clip.mp4", "clip.webm", "clip.mkv", "clip.mov", "clip.avi", "clip.gif", "clip.ts", "odd.mkv", "turned.mp4"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(folder, name):
    path = folder / name
    if name == "odd.mkv":
        return make_film(path, height=49, width=65, options=("-c:v", "libx264", "-pix_fmt", "yuv444p"))
    if name == "turned.mp4":
        ffmpeg("-display_rotation", 90, "-i", make_film(folder / "upright.mp4"), "-c", "copy", path)
        return path
    return make_film(path, options=() if name.endswith((".webm", ".gif")) else H264)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return {name: make(folder, name) for name in NAMES}


@pytest.fixture(params=["av", "ffmpeg"])
def reader(request, monkeypatch):
    """Both ways to read, for the same tests."""
    module = ffmpeg_reader
    if request.param == "av":
        pytest.importorskip("av")
        from lavie.training.data import av_reader as module
    elif "clip.ts" in request.node.name and get_ffmpeg_version() == "7.0.2-static":
        pytest.skip("this ffmpeg, which imageio-ffmpeg 0.6 brings, crashes on every transport stream")
    monkeypatch.setattr(decode, "_reader", lambda: module)
    decode._list_file.cache_clear()
    yield module
    decode._list_file.cache_clear()


def read(path, *request, seed=0, **segment):
    return decode.read_clip(path.name, path, ClipRequest(*request), generator(seed), **segment)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "turned.mp4"])
def test_every_container_gives_all_its_frames_in_order(name, films, reader):
    listing = decode.list_frames(name, films[name])
    video = read(films[name], 24, listing.height, listing.width)
    assert video.shape == (3, 24, listing.height, listing.width)
    assert video.dtype == torch.float32
    assert -1 <= video.min() <= video.max() <= 1
    assert numbers_in(video) == list(range(24))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.ts", "odd.mkv"])
def test_a_slower_rate_takes_every_nth_frame_from_any_start(name, films, reader):
    starts = set()
    for seed in range(12):
        numbers = numbers_in(read(films[name], 5, 48, 64, 8.0, seed=seed))
        assert np.diff(numbers).tolist() == [3, 3, 3, 3]
        starts.add(numbers[0])
    assert len(starts) > 3


def test_both_readers_give_the_same_pixels(films):
    av_reader = pytest.importorskip("lavie.training.data.av_reader", exc_type=ImportError)
    for name in ("clip.mp4", "odd.mkv", "turned.mp4"):
        file = films[name]
        listings = [module.list_frames(name, file) for module in (av_reader, ffmpeg_reader)]
        assert [(len(x.ticks), x.height, x.width) for x in listings] == [
            (24, *(listings[0].height, listings[0].width))
        ] * 2
        geometry = fit(name, listings[0].height, listings[0].width, ClipRequest(4, 32, 32), generator())
        one, other = (
            module.decode_frames(name, file, listing, [3, 4, 9, 20], geometry).astype(int)
            for module, listing in zip((av_reader, ffmpeg_reader), listings, strict=True)
        )
        assert one.shape == other.shape == (4, 32, 32, 3)
        assert np.abs(one - other).max() <= 3, name


def test_without_pyav_ffmpeg_reads(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "lavie.training.data.av_reader", raising=False)
    monkeypatch.delattr("lavie.training.data.av_reader", raising=False)
    assert decode._reader.__wrapped__() is ffmpeg_reader


def test_a_phone_video_stands_upright(films, reader):
    listing = decode.list_frames("turned.mp4", films["turned.mp4"])
    assert (listing.height, listing.width) == (64, 48)
    video = read(films["turned.mp4"], 1, 64, 48)
    red = (video[0] - video[1] > 0.6)[0]
    assert red[52:60].all()
    assert not red[:44].any()


def test_frames_with_uneven_times_are_shown_as_long_as_they_last(films, tmp_path, reader):
    path = tmp_path / "uneven.mp4"
    drop = "select='not(between(n,5,9))'"
    ffmpeg("-i", films["clip.mp4"], "-vf", drop, "-fps_mode", "vfr", *H264, path)
    assert numbers_in(read(path, 19, 48, 64)) == [*range(5), *range(10, 24)]
    assert numbers_in(read(path, 24, 48, 64, 24.0)) == [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, *range(10, 24)]


def test_an_odd_rate_is_sampled_without_drift(tmp_path, reader):
    path = make_film(tmp_path / "ntsc.mp4", frames=25, fps="30000/1001")
    numbers = numbers_in(read(path, 7, 48, 64, 8.0, seed=1))
    times = (torch.arange(7) / 8 * 30000 / 1001 + 0.1).floor().int()
    assert numbers == (numbers[0] + times).tolist()


def test_a_clip_stays_within_its_part_of_the_video(films, reader):
    for seed in range(6):
        numbers = numbers_in(read(films["clip.mp4"], 4, 48, 64, seed=seed, start=0.5, end=0.75))
        assert numbers[0] >= 12
        assert numbers[-1] <= 17


def test_a_film_whose_beginning_was_cut_off_without_encoding_starts_where_players_start(films, tmp_path, reader):
    path = tmp_path / "trimmed.mp4"
    ffmpeg("-ss", 0.5, "-i", films["clip.mp4"], "-c", "copy", path)
    count = len(decode.list_frames("trimmed.mp4", path).ticks)
    assert numbers_in(read(path, count, 48, 64))[-1] == 23


def test_films_in_memory_read_like_files(films, reader):
    content = films["clip.mp4"].read_bytes()
    video = decode.read_clip("clip", content, ClipRequest(6, 48, 64), generator(4))
    assert torch.equal(video, read(films["clip.mp4"], 6, 48, 64, seed=4))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ((25, 48, 64), "24 frames are too few: 25"),
        ((16, 48, 64, 8.0), "too short for 16 frames at 8 a second"),
        ((4, 48, 64, 48.0), "24 frames a second are too few: 48"),
        ((4, 96, 64, None, "patch"), "48x64 pixels are too few for patches of 96x64"),
    ],
)
def test_what_a_video_does_not_have_is_refused_with_the_reason(request_, reason, films, reader):
    with pytest.raises(UnreadableClip, match=reason) as raised:
        read(films["clip.mp4"], *request_)
    assert raised.value.name == "clip.mp4"


def cut_short(folder, film):
    path = folder / "short.mp4"
    ffmpeg("-i", film, "-c", "copy", "-movflags", "+faststart", folder / "whole.mp4")
    content = (folder / "whole.mp4").read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    return path


def scribbled(folder, film):
    path = folder / "scribbled.mp4"
    noise = make_film(folder / "noise.mp4", np.random.default_rng(0).integers(0, 255, (24, 48, 64, 3), np.uint8))
    content = bytearray(noise.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(reversed(content[middle : middle + 4000]))
    path.write_bytes(content)
    return path


def written(name, content):
    def make(folder, film):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def sound_only(folder, film):
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", folder / "sound.mp4")
    return folder / "sound.mp4"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (cut_short, "cut off"),
        (scribbled, "damaged"),
        (written("empty.mp4", b""), r"empty \(0 bytes\)"),
        (written("text.mp4", b"these are words, no film at all\n" * 50), "no video"),
        (written("list.mp4", b"ffconcat version 1.0\nfile clip.mp4\n"), "no video"),
        (written("playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n"), "no video"),
        (lambda folder, film: folder / "missing.mp4", "cannot be opened"),
        (sound_only, "only sound"),
    ],
)
def test_broken_files_are_refused_by_name_and_reason(broken, reason, films, tmp_path, reader):
    path = broken(tmp_path, films["clip.mp4"])
    with pytest.raises(UnreadableClip, match=reason) as raised:
        read(path, 24, 48, 64)
    assert raised.value.name == path.name


ticks = st.lists(st.integers(1, 50), min_size=1, max_size=60).map(lambda gaps: tuple(np.cumsum(gaps).tolist()))


@settings(deadline=None)
@given(ticks, st.integers(1, 12), st.floats(0.5, 40), st.integers(0, 99))
def test_every_sampled_frame_is_the_one_on_screen_at_its_time(ticks, frames, fps, seed):
    listing = Listing(ticks, Fraction(1, 100), 8, 8)
    segment = range(len(ticks))
    try:
        chosen = choose_frames("x", listing, segment, ClipRequest(frames, 8, 8, fps), generator(seed))
    except UnreadableClip:
        return
    assert len(chosen) == frames
    times, slack = listing.times, 0.1 * listing.gap + 1e-9
    for index, frame in enumerate(chosen):
        time = times[chosen[0]] + index / fps
        assert times[frame] <= time + slack
        assert frame + 1 == len(times) or times[frame + 1] > time - slack


@settings(deadline=None)
@given(
    st.tuples(st.integers(4, 90), st.integers(4, 90)),
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.sampled_from(["center", "random"]),
)
def test_the_resize_just_covers_what_is_asked(size, asked, crop):
    geometry = fit("x", *size, ClipRequest(1, *asked, crop=crop), generator())
    assert all(start >= 0 for start in (geometry.top, geometry.left))
    assert geometry.top + asked[0] <= geometry.scaled[0]
    assert geometry.left + asked[1] <= geometry.scaled[1]
    assert geometry.scaled[0] == asked[0] or geometry.scaled[1] == asked[1]
    scale = max(asked[0] / size[0], asked[1] / size[1])
    assert all(abs(geometry.scaled[i] - max(asked[i], scale * size[i])) <= 0.5 for i in (0, 1))


def test_a_patch_is_a_window_of_the_original_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = set()
    for seed in range(8):
        patch = decode.read_image("a", tmp_path / "a.png", ClipRequest(1, 16, 24, crop="patch"), generator(seed))
        patch = ((patch[:, 0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        places = [(y, x) for y in range(25) for x in range(27) if np.array_equal(pixels[y : y + 16, x : x + 24], patch)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 4


def image(mode):
    if mode == "I;16":
        return Image.fromarray(np.full((20, 30), 40000, np.uint16))
    if mode == "P":
        return Image.new("RGB", (30, 20), (156, 156, 156)).quantize()
    return Image.new(mode, (30, 20), {"L": 156, "LA": (156, 255), "RGBA": (156, 156, 156, 255)}.get(mode))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16"])
def test_images_of_every_mode_come_as_colours(mode, tmp_path):
    image(mode).save(tmp_path / "a.png")
    video = decode.read_image("a", tmp_path / "a.png", ClipRequest(1, 20, 30), generator())
    assert video.shape == (3, 1, 20, 30)
    assert torch.allclose(video, torch.tensor(156 / 127.5 - 1), atol=0.01)


def test_transparent_parts_of_an_image_are_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (decode.read_image("a", tmp_path / "a.png", ClipRequest(1, 8, 8), generator()) == 1).all()


def test_a_turned_photo_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert decode.image_size("a", tmp_path / "a.jpg") == (30, 20)
    video = decode.read_image("a", tmp_path / "a.jpg", ClipRequest(1, 30, 20, crop="patch"), generator())
    assert video.shape == (3, 1, 30, 20)


@pytest.mark.parametrize("content", [b"", b"words", None])
def test_broken_images_are_refused(content, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(numbered(1)[0]).resize((300, 300)).save(path)
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(UnreadableClip, match="a: it is damaged or no image"):
        decode.read_image("a", path, ClipRequest(1, 16, 16), generator())
