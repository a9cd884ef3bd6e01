"""Folders and tables: what is fit becomes rows, what is not is counted and named."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support.films import make_captioned, make_film, numbered, numbers_in

from lab.training.data import World
from lavie.errors import UsageError
from lavie.training.data import (
    ClipRequest,
    Filters,
    ImageFolder,
    ImageTable,
    UnreadableClip,
    VideoFolder,
    VideoTable,
    files,
    open_source,
)

CLIP = ClipRequest(4, 48, 64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def write_table(file, rows):
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return file


def save_image(path, size=(64, 48), caption=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 40, 40)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two good films, and one of every kind that is not."""
    videos = tmp_path / "videos"
    make_captioned(videos / "b.mp4", "one good film")
    make_captioned(videos / "sub" / "a.webm", "another good\nfilm", options=())
    make_captioned(videos / "short.mp4", "too few frames here", frames=12)
    make_captioned(videos / "words.mp4", "two words")
    make_captioned(videos / "silent.mp4", "  ")
    make_captioned(videos / "small.mp4", "a very small film", height=32, width=32)
    make_captioned(videos / "latin.mp4").with_suffix(".txt").write_bytes("ein schöner Film".encode("latin-1"))
    make_film(videos / "bare.mp4")
    make_captioned(videos / "cut.mp4", "a film cut short")
    (videos / "cut.mp4").write_bytes((videos / "cut.mp4").read_bytes()[:700])
    (videos / "notes.md").write_text("no film")
    for name in ("empty.mp4", "text.mp4"):
        (videos / name).write_bytes(b"" if name == "empty.mp4" else b"only words here\n" * 99)
        (videos / name).with_suffix(".txt").write_text("a film of nothing")
    return videos


def test_the_fit_videos_of_a_folder_are_read_with_their_captions(folder):
    source = VideoFolder(folder, Filters(min_size=(48, 64)))
    assert [source.caption(row, generator()) for row in range(len(source))] == ["one good film", "another good film"]
    clip = source.read(1, CLIP, generator())
    assert clip.name == "sub/a.webm"
    assert np.diff(numbers_in(clip.tensors["video"])).tolist() == [1, 1, 1]


def test_every_video_that_is_left_out_is_counted_and_named(folder):
    report = VideoFolder(folder, Filters(min_size=(48, 64))).report
    assert report.kept == 2
    assert report.dropped == {
        "no .txt file with its caption": ["bare.mp4"],
        "caption that is not UTF-8": ["latin.mp4"],
        "no caption": ["silent.mp4"],
        "caption of fewer than 3 words": ["words.mp4"],
        "fewer than 16 frames": ["short.mp4"],
        "smaller than 48x64": ["small.mp4"],
    }
    assert dict(report.broken).keys() == {"cut.mp4", "empty.mp4", "text.mp4"}
    text = report.text()
    assert text.startswith(f"{folder}: 2 kept, 6 dropped, 3 broken")
    assert "broken, empty.mp4: it is empty (0 bytes)" in text
    assert "1 dropped, fewer than 16 frames: short.mp4" in text
    assert json.loads(json.dumps(report.json()))["dropped"]["no caption"] == 1


def test_the_same_video_and_seed_give_the_same_clip(folder):
    source = VideoFolder(folder)
    clips = [source.read(0, CLIP, generator(seed)).tensors["video"] for seed in (1, 1, 2, 3, 4)]
    assert torch.equal(clips[0], clips[1])
    assert len({tuple(numbers_in(clip)) for clip in clips}) > 1


def test_captions_may_be_utf16_and_have_a_mark(tmp_path):
    for name, encoding in (("a", "utf-8-sig"), ("b", "utf-16")):
        make_captioned(tmp_path / f"{name}.mp4").with_suffix(".txt").write_text("ein schöner 🐟 Film", encoding)
    source = VideoFolder(tmp_path)
    assert [entry.caption for entry in source.entries] == ["ein schöner 🐟 Film"] * 2


def test_without_probing_broken_videos_are_met_when_they_are_read(folder):
    source = VideoFolder(folder, probe=False)
    names = [entry.name for entry in source.entries]
    with pytest.raises(UnreadableClip, match="empty"):
        source.read(names.index("empty.mp4"), CLIP, generator())


def test_what_probing_found_is_remembered_until_a_file_changes(folder, tmp_path, monkeypatch):
    cache = tmp_path / "run" / "videos.json"
    first = VideoFolder(folder, cache=cache)
    looked = []
    look = files.list_frames
    monkeypatch.setattr(files, "list_frames", lambda name, path: looked.append(name) or look(name, path))
    make_captioned(folder / "short.mp4", "it is longer now", frames=20)
    again = VideoFolder(folder, cache=cache)
    assert looked == ["short.mp4"]
    assert len(again) == len(first) + 1
    assert again.report.broken == first.report.broken
    assert again.fingerprint() != first.fingerprint()
    assert again.fingerprint() == VideoFolder(folder).fingerprint()


@pytest.mark.parametrize("damage", ["{", "[" * 100_000, "[]", "\x1b[2J", '{"%s": {"broken": 7}}', '{"%s": 1e999}'])
def test_a_damaged_memory_of_what_probing_found_is_made_anew(folder, tmp_path, damage, caplog):
    cache, short = tmp_path / "videos.json", folder / "short.mp4"
    entries = VideoFolder(folder).entries
    cache.write_text(damage.replace("%s", short.as_posix()))
    assert VideoFolder(folder, cache=cache).entries == entries
    assert json.loads(cache.read_text())[str(short)]["frames"] > 0
    assert ("videos.json cannot be read" in caplog.text) == (": {" not in damage)


def test_a_folder_without_anything_fit_is_refused_with_the_account(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        VideoFolder(tmp_path / "missing")
    with pytest.raises(UsageError, match=r"holds no files that end in \.mp4"):
        VideoFolder(tmp_path)
    make_captioned(tmp_path / "a.mp4", "two words")
    with pytest.raises(UsageError, match=r"(?s)No videos are left.*caption of fewer than 3 words: a\.mp4"):
        VideoFolder(tmp_path)


def test_images_of_a_folder(tmp_path):
    save_image(tmp_path / "a.png", caption="a red image here")
    save_image(tmp_path / "b.jpg", (20, 20), caption="a small red image")
    save_image(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"words")
    (tmp_path / "d.txt").write_text("a broken red image")
    source = ImageFolder(tmp_path, Filters(min_size=(48, 64)))
    clip = source.read(0, ClipRequest(1, 48, 64), generator())
    assert len(source) == 1
    assert clip.tensors["video"].shape == (3, 1, 48, 64)
    assert torch.allclose((clip.tensors["video"][:, 0, 0, 0] + 1) * 127.5, torch.tensor([200.0, 40, 40]), atol=0.01)
    assert source.report.dropped.keys() == {"smaller than 48x64", "no .txt file with its caption"}
    assert [name for name, _ in source.report.broken] == ["d.png"]
    with pytest.raises(UsageError, match="holds images"):
        source.read(0, CLIP, generator())


def test_a_table_gives_parts_of_videos_and_filters_by_its_columns(tmp_path):
    make_film(tmp_path / "films" / "a.mp4")
    row = {"Path": "films/a.mp4", "caption": "a film of numbers", "extra": "x", "aesthetic": 5.5}
    rows = [
        {**row, "start": "", "end": ""},
        {**row, "start": 0.25, "end": 1},
        {**row, "start": 0.5, "end": 0.75},
        {**row, "aesthetic": 3},
        {**row, "aesthetic": ""},
        {**row, "start": "soon"},
        {**row, "start": 2, "end": 1},
        {**row, "Path": "films/b.mp4"},
        {**row, "Path": ""},
        {**row, "caption": "two words"},
    ]
    source = VideoTable(write_table(tmp_path / "t.csv", rows), Filters(min_aesthetic=5))
    assert [(entry.start, entry.end) for entry in source.entries] == [(0, None), (0.25, 1)]
    for seed in range(5):
        numbers = numbers_in(source.read(1, CLIP, generator(seed)).tensors["video"])
        assert 6 <= numbers[0] <= numbers[-1] < 24
    assert {reason: len(names) for reason, names in source.report.dropped.items()} == {
        "aesthetic score below 5": 1,
        "no aesthetic score": 1,
        "caption of fewer than 3 words": 1,
        "fewer than 16 frames": 1,
    }
    broken = dict(source.report.broken)
    assert broken.keys() == {
        f"row {n}" + rest
        for n, rest in ((6, " (films/a.mp4)"), (7, " (films/a.mp4)"), (8, " (films/b.mp4)"), (9, " (no file)"))
    }
    assert broken["row 6 (films/a.mp4)"] == "its start is no number: 'soon'"


def test_a_table_of_images_in_other_words(tmp_path):
    save_image(tmp_path / "a.png")
    table = write_table(tmp_path / "t.csv", [{"image": "a.png", "text": "a red image", "width": 64, "height": 48}])
    clip = ImageTable(table).read(0, ClipRequest(1, 24, 32), generator())
    assert clip.caption == "a red image"
    assert clip.tensors["video"].shape == (3, 1, 24, 32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,words\na.mp4,x\n", r"needs a column 'caption' \(or text\); its first line has path, words"),
        (b"file,caption\na.mp4,x\n", r"needs a column 'path' \(or video, image\)"),
        (b"", "its first line has nothing"),
        (b"\xff\xfepath", "no table in CSV and UTF-8"),
        (None, "cannot be opened"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        VideoTable(tmp_path / "t.csv")


def test_long_videos_are_cut_into_scenes(tmp_path):
    pytest.importorskip("scenedetect")

    colours = np.array([(220, 30, 30), (20, 90, 20), (190, 190, 250)], np.uint8)
    frames = np.repeat(colours, (20, 30, 40), axis=0)[:, None, None].repeat(48, 1).repeat(64, 2)
    make_film(tmp_path / "v" / "long.mp4", frames).with_suffix(".txt").write_text("colours one by one")
    cache = tmp_path / "videos.json"
    source = VideoFolder(tmp_path / "v", cut_scenes=True, cache=cache)
    times = [(round(24 * entry.start), round(24 * entry.end)) for entry in source.entries]
    assert times == [(0, 20), (20, 50), (50, 90)]
    for row, channel in enumerate((0, 1, 2)):
        for seed in range(4):
            video = source.read(row, ClipRequest(16, 48, 64), generator(seed)).tensors["video"]
            assert (video.mean((2, 3)).argmax(0) == channel).all()
    assert json.loads(cache.read_text())[str(tmp_path / "v" / "long.mp4")]["scenes"][1] == pytest.approx(
        [20 / 24, 50 / 24]
    )
    again = VideoFolder(tmp_path / "v", cut_scenes=True, cache=cache)
    assert again.entries == source.entries


def test_cutting_scenes_without_pyscenedetect_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    make_captioned(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match="pip install"):
        VideoFolder(tmp_path, cut_scenes=True)


def test_one_door_to_every_source(folder, tmp_path):
    save_image(tmp_path / "images" / "a.png", caption="a red image here")
    table = write_table(tmp_path / "t.csv", [{"path": "videos/b.mp4", "text": "a good film"}])
    images = write_table(tmp_path / "p.csv", [{"path": "images/a.png", "text": "a red image"}])
    opened = {
        str(folder): (False, VideoFolder),
        str(tmp_path / "images"): (True, ImageFolder),
        str(table): (False, VideoTable),
        str(images): (True, ImageTable),
        "world:40:3": (False, World),
        "world-stills": (True, World),
    }
    for spec, (wants_images, kind) in opened.items():
        source = open_source(spec, images=wants_images)
        assert type(source) is kind
        assert source.name == spec
        if wants_images:
            with pytest.raises(UsageError, match="holds images, and videos are wanted"):
                open_source(spec)
    assert (len(open_source("world:40:3")), open_source("world:40:3").seed) == (40, 3)


@pytest.mark.parametrize("spec", ["nowhere", "world:many", "world:0", "none.tar", "none-{0..3}.tar", "none.csv"])
def test_a_door_that_leads_nowhere_says_so(spec):
    with pytest.raises(UsageError, match=r"none|nowhere|world"):
        open_source(spec)


def test_probing_shows_what_numbered_frames_hold(tmp_path):
    make_captioned(tmp_path / "a.mp4", frames=numbered(20))
    assert len(VideoFolder(tmp_path, Filters(min_frames=20))) == 1
    with pytest.raises(UsageError, match="fewer than 21 frames"):
        VideoFolder(tmp_path, Filters(min_frames=21))
