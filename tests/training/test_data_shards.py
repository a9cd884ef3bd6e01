"""Shards: local or from a server, whole or cut off, any sample at any time, and a cache that keeps to its size."""

import http.server
import io
import json
import multiprocessing
import os
import tarfile
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.films import make_film, numbers_in

from lavie.errors import LavieError, UsageError
from lavie.training.data import ClipRequest, Filters, Mixture, Shards, TrainingData, UnreadableClip, open_source
from lavie.training.data.shard_cache import ShardCache

CLIP = ClipRequest(4, 48, 64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def write_tar(path, members):
    """members: (name, content) in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """The bytes of two films, one of them with too few frames."""
    folder = tmp_path_factory.mktemp("films")
    return [make_film(folder / f"{frames}.mp4", frames).read_bytes() for frames in (20, 10)]


def sample(key, film, caption):
    return [(f"{key}.mp4", film), (f"{key}.txt", caption.encode())]


@pytest.fixture
def folder(tmp_path, films):
    """Three shards of three, two and three samples."""
    for number, count in enumerate((3, 2, 3)):
        members = [part for i in range(count) for part in sample(f"{i:04d}", films[0], f"film {i} of shard {number}")]
        write_tar(tmp_path / "s" / f"train-{number:04d}.tar", members)
    return tmp_path / "s"


@pytest.fixture
def server(folder):
    """The folder over http: its address, and how often each file was asked for."""
    asked = Counter()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] += 1
            super().do_GET()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def captions(source):
    return [source.caption(row, generator()) for row in range(len(source))]


@pytest.mark.parametrize("pattern", ["train-{0000..0002}.tar", "train-*.tar", "train-000{0,1,2}.tar"])
def test_samples_of_all_shards_are_read_at_random(folder, pattern):
    source = Shards(f"{folder}/{pattern}")
    assert captions(source) == [f"film {i} of shard {s}" for s, count in enumerate((3, 2, 3)) for i in range(count)]
    for row in (7, 0, 4):
        clip = source.read(row, CLIP, generator(row))
        assert clip.caption == source.caption(row, generator())
        assert len(set(torch.tensor(numbers_in(clip.tensors["video"])).diff().tolist())) == 1
    assert clip.name == f"{folder}/train-0001.tar, 0001.mp4"
    assert source.report.kept == 8


def test_a_pass_shows_every_sample_once_and_stays_among_few_shards(tmp_path, films):
    for number in range(9):
        members = [part for i in range(5) for part in sample(f"{i}", films[0], f"a film {number}")]
        write_tar(tmp_path / f"{number}.tar", members)
    source = Shards(f"{tmp_path}/*.tar")
    order = source.order(0, 1).tolist()
    assert sorted(order) == list(range(45))
    for group in (order[:20], order[20:40], order[40:]):
        assert len({row // 5 for row in group}) == (4 if len(group) == 20 else 1)
    assert [row // 5 for row in order] != sorted(row // 5 for row in order)
    assert source.order(0, 1).tolist() == order
    assert source.order(0, 2).tolist() != order


def test_captions_and_facts_come_from_json_too(tmp_path, films):
    def facts(key, **values):
        return [(f"{key}.mp4", films[0]), (f"{key}.json", json.dumps(values).encode())]

    members = [
        *facts("a", caption="one good film", aesthetic=6, width=640, height=480),
        *facts("b", text="another good film", aesthetic=5.5),
        *facts("ugly", caption="an ugly little film", aesthetic=3),
        *facts("unknown", caption="nobody scored this film"),
        *facts("small", caption="a very small film", aesthetic=6, width=64, height=48),
        *facts("short", caption="two words", aesthetic=6),
        *facts("bare", aesthetic=6),
        ("list.mp4", films[0]),
        ("list.json", b"[1]"),
        ("latin.mp4", films[0]),
        ("latin.txt", "ein schöner Film".encode("latin-1")),
        ("alone.txt", b"a caption of nothing"),
    ]
    source = Shards(str(write_tar(tmp_path / "a.tar", members)), Filters(min_aesthetic=5, min_size=(100, 100)))
    assert captions(source) == ["one good film", "another good film"]
    assert {reason: [name.split(", ")[1] for name in names] for reason, names in source.report.dropped.items()} == {
        "aesthetic score below 5": ["ugly"],
        "no aesthetic score": ["unknown"],
        "smaller than 100x100": ["small"],
        "caption of fewer than 3 words": ["short"],
        "no .txt or .json with its caption": ["bare"],
        "caption that cannot be read": ["list", "latin"],
        "no video or image": ["alone"],
    }


def test_broken_and_short_films_are_refused_when_they_are_read(tmp_path, films):
    members = [*sample("a", b"only words", "a film of words"), *sample("b", films[1], "a film too short")]
    source = Shards(str(write_tar(tmp_path / "a.tar", members)))
    for row, reason in enumerate(("no video", "fewer than 16 frames")):
        with pytest.raises(UnreadableClip, match=reason) as raised:
            source.read(row, CLIP, generator())
        assert raised.value.name == f"{tmp_path}/a.tar, {'ab'[row]}.mp4"


def cut_in(shard, member, part):
    with tarfile.open(shard) as tar:
        info = tar.getmember(member)
    return info.offset_data + int(part * info.size)


@pytest.mark.parametrize(
    ("member", "part", "whole"), [("0000.mp4", 0.5, 0), ("0001.mp4", 0.9, 1), ("0002.mp4", -0.1, 2), ("0001.txt", 1, 2)]
)
def test_the_readable_part_of_a_cut_off_shard_is_used_and_the_shard_named(folder, member, part, whole):
    shard = folder / "train-0000.tar"
    shard.write_bytes(shard.read_bytes()[: cut_in(shard, member, part)])
    source = Shards(f"{folder}/train-*.tar")
    assert [text for text in captions(source) if text.endswith("shard 0")] == [
        f"film {i} of shard 0" for i in range(whole)
    ]
    ((name, reason),) = source.report.broken
    assert name == str(shard)
    assert "cut off or damaged" in reason
    assert "train-0000.tar" in source.report.text()
    for row in range(len(source)):
        source.read(row, CLIP, generator())


@pytest.mark.parametrize("content", [b"", b"these are words, no tar\n" * 100])
def test_a_shard_that_is_none_is_named_and_the_others_used(folder, content):
    (folder / "train-0001.tar").write_bytes(content)
    source = Shards(f"{folder}/train-*.tar")
    assert len(source) == 6
    assert [name for name, _ in source.report.broken] == [str(folder / "train-0001.tar")]
    (folder / "train-0000.tar").write_bytes(content)
    (folder / "train-0002.tar").write_bytes(content)
    with pytest.raises(UsageError, match=r"(?s)No samples are left.*3 broken"):
        Shards(f"{folder}/train-*.tar")


def test_shards_of_images(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 40, 40)).save(stream, "JPEG")
    path = write_tar(
        tmp_path / "p.tar",
        [("x/a.b.jpg", stream.getvalue()), ("x/a.jpg", stream.getvalue()), ("x/a.txt", b"a red image")],
    )
    source = open_source(str(path), images=True)
    assert source.read(0, ClipRequest(1, 24, 32), generator()).tensors["video"].shape == (3, 1, 24, 32)
    with pytest.raises(UsageError, match="holds images, and videos are wanted"):
        open_source(str(path))


def test_a_pattern_without_shards_is_refused(tmp_path):
    with pytest.raises(UsageError, match="There is no shard"):
        Shards(f"{tmp_path}/train-{{0..3}}.tar")
    with pytest.raises(UsageError, match="name a folder for that"):
        Shards("http://localhost/a.tar")


def test_shards_from_a_server_read_like_local_ones(folder, server, tmp_path):
    address, asked = server
    local = Shards(f"{folder}/train-{{0000..0002}}.tar")
    remote = Shards(f"{address}/train-{{0000..0002}}.tar", cache=tmp_path / "cache")
    assert captions(remote) == captions(local)
    for row in (6, 1):
        clips = [source.read(row, CLIP, generator(row)).tensors["video"] for source in (local, remote)]
        assert torch.equal(*clips)
    assert {path: count for path, count in asked.items() if path.endswith(".tar")} == {
        f"/train-{number:04d}.tar": 1 for number in range(3)
    }


def test_with_sizes_beside_the_shards_only_those_are_downloaded_that_are_read(folder, server, tmp_path):
    address, asked = server
    (folder / "sizes.json").write_text(json.dumps({"train-0000.tar": 3, "train-0001.tar": 3, "train-0002.tar": 3}))
    source = Shards(f"{address}/train-{{0000..0002}}.tar", cache=tmp_path / "cache")
    assert len(source) == 9
    assert not any(path.endswith(".tar") for path in asked)
    assert source.read(3, CLIP, generator()).caption == "film 0 of shard 1"
    assert [path for path in asked if path.endswith(".tar")] == ["/train-0001.tar"]
    with pytest.raises(UnreadableClip, match="only 2 of its samples are fit"):
        source.read(5, CLIP, generator())


@pytest.mark.parametrize(
    "sizes", ['{"train-0000.tar": -1}', '{"train-0000.tar": 1e18}', '{"train-0000.tar": "3"}', "[" * 9999]
)
def test_sizes_that_cannot_be_are_not_believed(sizes, folder, server, tmp_path):
    address, _ = server
    (folder / "sizes.json").write_text(sizes)
    assert len(Shards(f"{address}/train-0000.tar", cache=tmp_path / "cache")) == 3


def test_an_answer_that_is_no_shard_is_never_kept(folder, server, tmp_path, monkeypatch):
    address, _ = server
    monkeypatch.setattr("lavie.training.data.shard_cache.time.sleep", lambda _: None)
    whole = (folder / "train-0000.tar").read_bytes()
    (folder / "train-0000.tar").write_bytes(b"<html>Too many requests</html>" * 99)
    cache = ShardCache(tmp_path / "cache")
    with pytest.raises(UnreadableClip, match="something else than a tar file"):
        cache.get(f"{address}/train-0000.tar")
    (folder / "train-0000.tar").write_bytes(whole)
    assert cache.get(f"{address}/train-0000.tar").read_bytes() == whole


def test_a_shard_of_absurd_size_is_not_downloaded(server, tmp_path, monkeypatch):
    address, _ = server
    monkeypatch.setattr("lavie.training.data.shard_cache.MAX_SHARD", 1000)
    with pytest.raises(UnreadableClip, match="which no shard is"):
        ShardCache(tmp_path / "cache").get(f"{address}/train-0000.tar")


def test_the_cache_keeps_to_its_size_and_the_newest_used_stay(folder, server, tmp_path):
    address, asked = server
    urls = [f"{address}/train-{number:04d}.tar" for number in range(3)]
    size = max(file.stat().st_size for file in folder.glob("*.tar"))
    cache = ShardCache(tmp_path / "cache", 2 * size)
    paths = [cache.get(url) for url in urls[:2]]
    os.utime(paths[1], (1, 1))
    cache.get(urls[0])
    third = cache.get(urls[2])
    assert sorted(cache.folder.iterdir()) == sorted([paths[0], third])
    assert cache.get(urls[1]).read_bytes() == (folder / "train-0001.tar").read_bytes()
    assert asked["/train-0001.tar"] == 2
    tiny = ShardCache(tmp_path / "tiny", 1)
    assert tiny.get(urls[0]).exists()
    assert tiny.get(urls[1]).exists()
    assert len(list(tiny.folder.iterdir())) == 1


def test_a_run_over_more_shards_than_the_cache_holds_sees_every_sample(folder, server, tmp_path):
    address, _ = server
    source = Shards(f"{address}/train-{{0000..0002}}.tar", cache=tmp_path / "cache", cache_bytes=1)
    data = TrainingData(Mixture([source]), CLIP, 2, 0)
    for workers in (0, 2):
        examples = [e for batch in data.loader(0, 4, workers=workers) for e in batch]
        assert sorted(e.clip.caption for e in examples) == sorted(captions(source))
        assert not any(e.skipped for e in examples)


def _get(folder, url, results):
    results.put(str(ShardCache(folder).get(url)))


def test_processes_share_one_download(server, tmp_path):
    address, asked = server
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    url = f"{address}/train-0000.tar"
    processes = [context.Process(target=_get, args=(tmp_path / "cache", url, results)) for _ in range(4)]
    for process in processes:
        process.start()
    paths = {results.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()
    assert len(paths) == 1
    assert asked["/train-0000.tar"] == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [Path(paths.pop()).name]


def test_an_address_that_fails_is_named(server, tmp_path, monkeypatch):
    address, asked = server
    cache = ShardCache(tmp_path / "cache")
    with pytest.raises(UnreadableClip, match="cannot be downloaded \\(404"):
        cache.get(f"{address}/none.tar")
    assert asked["/none.tar"] == 1
    monkeypatch.setattr("lavie.training.data.shard_cache.time.sleep", lambda _: None)
    with pytest.raises(UnreadableClip, match="cannot be downloaded"):
        cache.get("http://127.0.0.1:1/a.tar")
    with pytest.raises(LavieError, match=r"(?s)No samples are left.*none\.tar: it cannot be downloaded"):
        Shards(f"{address}/none.tar", cache=tmp_path / "cache")
    assert list(cache.folder.iterdir()) == []


def test_a_connection_that_breaks_is_tried_again(folder, tmp_path, monkeypatch):
    whole = (folder / "train-0000.tar").read_bytes()
    tries = []

    class Breaking(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            tries.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole if len(tries) == 3 else whole[: len(whole) // 2])

        def log_message(self, *_):
            pass

    monkeypatch.setattr("lavie.training.data.shard_cache.time.sleep", lambda _: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        path = ShardCache(tmp_path / "cache").get(f"http://127.0.0.1:{running.server_port}/a.tar")
        running.shutdown()
    assert path.read_bytes() == whole
    assert len(tries) == 3
