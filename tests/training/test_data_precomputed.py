"""What is encoded once comes back as it was, in windows, and is never taken for something else."""

import pickle
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.rows import Rows
from torch.nn.functional import avg_pool2d

from lab.training.data import World
from lavie.errors import LavieError, UsageError
from lavie.training.data import Clip, ClipRequest, Mixture, Precomputed, TrainingData, precomputed, write_precomputed

WHOLE = ClipRequest(8, 32, 48, fps=8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def encode(clips):
    """Stands for an autoencoder that makes 8×8 pixels one: their means, and a mask of the pixels as they are."""
    means = [avg_pool2d(clip.tensors["video"], 8) for clip in clips]
    return [{"latents": torch.cat([m, m[:1]]), "mask": c.tensors["mask"]} for m, c in zip(means, clips, strict=True)]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(precomputed, "SHARD_ROWS", 8)


@pytest.fixture
def source():
    return World(20, seed=5)


@pytest.fixture
def stored(source, tmp_path):
    write_precomputed(source, WHOLE, encode, tmp_path / "p", batch=3)
    return Precomputed(source, tmp_path / "p")


def test_every_row_comes_back_with_its_caption(source, stored):
    assert len(stored) == 20
    for row in (0, 7, 8, 19):
        clip = stored.read(row, WHOLE, generator(row))
        assert clip.caption == source.caption(row, generator(row))
        assert clip.tensors["latents"].shape == (4, 8, 4, 6)
        assert {tensor.dtype for tensor in clip.tensors.values()} == {torch.float32}
        place = precomputed.generator_of("precomputed", source.name, row)
        again = encode([source.read(row, WHOLE, place)])[0]
        assert torch.allclose(clip.tensors["latents"], again["latents"], atol=1e-3)
        assert torch.allclose(clip.tensors["mask"], again["mask"], atol=1e-3)


def test_a_shorter_request_is_a_random_window_of_all_tensors_alike(source, stored):
    moving = next(row for row in range(20) if source.scene(row).camera.startswith("pan"))
    whole = stored.read(moving, WHOLE, generator()).tensors
    starts = set()
    for seed in range(20):
        part = stored.read(moving, ClipRequest(3, 32, 48, fps=8), generator(seed)).tensors
        start = next(s for s in range(6) if all(torch.equal(part[name], whole[name][:, s : s + 3]) for name in whole))
        starts.add(start)
    assert starts == set(range(6))


def test_a_slower_request_takes_every_nth_frame(stored):
    whole = stored.read(3, WHOLE, generator()).tensors["latents"]
    part = stored.read(3, ClipRequest(4, 32, 48, fps=4), generator(1)).tensors["latents"]
    assert any(torch.equal(part, whole[:, start : start + 7 : 2]) for start in (0, 1))


def test_a_smaller_request_is_a_window_of_whole_latent_pixels(stored):
    whole = stored.read(3, WHOLE, generator()).tensors
    for seed in range(8):
        part = stored.read(3, ClipRequest(8, 16, 24, fps=8, crop="patch"), generator(seed)).tensors
        assert part["latents"].shape == (4, 8, 2, 3)
        assert part["mask"].shape == (1, 8, 16, 24)
        assert any(
            torch.equal(part["latents"], whole["latents"][:, :, y : y + 2, x : x + 3])
            and torch.equal(part["mask"], whole["mask"][:, :, 8 * y : 8 * y + 16, 8 * x : 8 * x + 24])
            for y in range(3)
            for x in range(4)
        )
    middle = stored.read(3, ClipRequest(8, 16, 32, fps=8), generator()).tensors["latents"]
    assert torch.equal(middle, whole["latents"][:, :, 1:3, 1:5])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ClipRequest(9, 32, 48, 8), "holds 8 frames of 32x48 at 8 a second; 9 frames"),
        (ClipRequest(8, 64, 48, 8), "64x48 at 8 a second cannot be taken"),
        (ClipRequest(3, 32, 48, 3), "8 frames a second; 3 cannot"),
        (ClipRequest(3, 32, 48, 16), "8 frames a second; 16 cannot"),
        (ClipRequest(8, 12, 16, 8, "patch"), "multiples of 8 pixels, not 12"),
    ],
)
def test_what_is_not_stored_is_refused(request_, message, stored):
    with pytest.raises(UsageError, match=message):
        stored.read(0, request_, generator())


def test_precomputing_goes_on_after_a_stop(source, tmp_path):
    done = []

    def stopping(clips):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(len(clips))
        return encode(clips)

    folder = tmp_path / "p"
    with pytest.raises(KeyboardInterrupt):
        write_precomputed(source, WHOLE, stopping, folder, batch=3)
    with pytest.raises(UsageError, match=r"not whole: 8 of 20 clips\. Precompute once more"):
        Precomputed(source, folder)
    first = (folder / "00000.safetensors").read_bytes()
    encoded, progress = [], []
    report = write_precomputed(
        source,
        WHOLE,
        lambda clips: encoded.extend(clips) or encode(clips),
        folder,
        on_rows=lambda *n: progress.append(n),
    )
    assert len(encoded) == 12
    assert progress == [(8, 20), (16, 20), (20, 20)]
    assert report.kept == len(Precomputed(source, folder)) == 20
    assert (folder / "00000.safetensors").read_bytes() == first
    write_precomputed(source, WHOLE, encode, tmp_path / "q")
    whole, stopped = Precomputed(source, tmp_path / "q"), Precomputed(source, folder)
    for row in range(20):
        clips = [stored.read(row, WHOLE, generator()) for stored in (whole, stopped)]
        assert clips[0].name == clips[1].name
        assert all(torch.equal(clips[0].tensors[name], clips[1].tensors[name]) for name in clips[0].tensors)
    assert not list(folder.glob("*.partial"))


def test_what_other_data_sizes_or_networks_made_is_refused_by_name(source, tmp_path):
    folder = tmp_path / "p"
    write_precomputed(source, WHOLE, encode, folder, identity="vae 1")
    assert len(Precomputed(source, folder, "vae 1")) == 20
    stale = [
        (World(21, seed=5), WHOLE, "vae 1", "other length"),
        (World(20, seed=6), WHOLE, "vae 1", "other files, captions or filters"),
        (source, ClipRequest(8, 32, 32, 8), "vae 1", "clips of another form"),
        (source, WHOLE, "vae 2", r"other networks \(identity: vae 1, now vae 2\)"),
    ]
    for other, request, identity, message in stale:
        with pytest.raises(UsageError, match=message):
            write_precomputed(other, request, encode, folder, identity=identity)
    with pytest.raises(UsageError, match="other networks"):
        Precomputed(source, folder, "vae 2")
    with pytest.raises(UsageError, match="other files"):
        Precomputed(World(20, seed=6), folder)
    with pytest.raises(UsageError, match=r"there is no precomputed\.json"):
        Precomputed(source, tmp_path)


def test_clips_that_cannot_be_read_are_left_out_and_named(tmp_path):
    source = Rows("a", 20, broken={2, 9, 10, 11, 12, 13, 14, 15})

    def rows(clips):
        return [{"latents": clip.tensors["video"].floor()} for clip in clips]

    report = write_precomputed(source, ClipRequest(2, 4, 6), rows, tmp_path / "p")
    stored = Precomputed(source, tmp_path / "p")
    assert report.broken[0] == ("a/2.mp4", "it is damaged")
    assert len(report.broken) == len(stored.report.broken) == 8
    read = [stored.read(row, ClipRequest(2, 4, 6), generator()) for row in range(len(stored))]
    assert [clip.caption for clip in read] == [f"a {row}" for row in range(20) if row not in source.broken]
    assert all(clip.tensors["latents"].unique().tolist() == [float(clip.caption[2:])] for clip in read)


def test_stored_text_keeps_the_caption_that_was_embedded(tmp_path):
    def with_text(clips: list[Clip]):
        return [{"latents": torch.zeros(4, 1, 2, 2), "text": torch.full((77, 3), len(c.caption))} for c in clips]

    source = World(20, stills=True)
    write_precomputed(source, ClipRequest(1, 16, 16), with_text, tmp_path)
    stored = Precomputed(source, tmp_path)
    for row in range(20):
        for seed in range(3):
            clip = stored.read(row, ClipRequest(1, 16, 16), generator(seed))
            assert clip.tensors["text"].unique().item() == len(clip.caption)


def test_a_damaged_shard_is_named(stored, source):
    file = stored.folder / "00001.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(LavieError, match=r"00001\.safetensors is damaged"):
        Precomputed(source, stored.folder)


@pytest.mark.parametrize(
    "damage", ["{", "[" * 100_000, "[]", "{}", '{"request": {}}', '{"request": {"num_frames": 1e999}}']
)
def test_a_damaged_note_is_told_in_a_sentence(stored, source, damage):
    (stored.folder / "precomputed.json").write_text(damage)
    with pytest.raises(LavieError, match=r"is damaged; remove it and precompute once more"):
        Precomputed(source, stored.folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", "[]"),
        ("rows", "[8, 9, 10, 11, 12, 13, 14, 99]"),
        ("captions", "[1, 2, 3, 4, 5, 6, 7, 8]"),
        ("captions", "[" * 100_000),
        ("skipped", '["a"]'),
    ],
)
def test_a_shard_whose_notes_do_not_fit_its_clips_is_named(stored, source, name, value):
    file = stored.folder / "00001.safetensors"
    with safe_open(file, "pt") as shard:
        notes = {**shard.metadata(), name: value}
    save_file(load_file(file), file, notes)
    with pytest.raises(LavieError, match=r"00001\.safetensors is damaged; remove it"):
        Precomputed(source, stored.folder)


def test_precomputed_clips_train_from_workers_as_from_this_process(stored):
    data = TrainingData(Mixture([stored]), ClipRequest(4, 32, 48, 8), 4, 0)
    assert pickle.loads(pickle.dumps(stored))._shards == {}
    one, other = ([e for batch in data.loader(0, 6, workers=w) for e in batch] for w in (0, 2))
    assert [e.clip.name for e in one] == [e.clip.name for e in other]
    assert all(
        torch.equal(a.clip.tensors["latents"], b.clip.tensors["latents"]) for a, b in zip(one, other, strict=True)
    )


def test_an_example_of_stored_latents_takes_no_time(tmp_path):
    source = World(64, stills=True)
    request = ClipRequest(1, 64, 96)
    write_precomputed(source, request, encode, tmp_path)
    data = TrainingData(Mixture([Precomputed(source, tmp_path)]), request, 16, 0)
    _ = [data[number] for number in range(64)]
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        _ = [data[number] for number in range(200)]
        best = min(best, (time.process_time() - start) / 200)
    assert best < 0.3e-3
