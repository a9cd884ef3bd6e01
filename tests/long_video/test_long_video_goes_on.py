"""Long videos that go on from something: from the base's clip by the extension stage, or from a video that is given."""

import json

import numpy as np
import pytest
from support.images import alike_neighbours

from lab.measures import long
from lab.measures.long import joins_of, seam_ratio
from lavie import ExtensionPipeline, LongVideoPipeline
from lavie.cli import main
from lavie.config import find_family
from lavie.errors import UsageError
from lavie.lora import Lora
from lavie.pipelines.resize import resized_frames
from lavie.sampling import PromptSchedule
from lavie.stages import CASCADE
from lavie.video import read_video, write_video

PROMPT = "a red ball standing still over green grass"
QUICK = {"num_inference_steps": 2, "seed": 3}
PARTS = ("unet", "vae", "text_encoder", "tokenizer")


@pytest.fixture(scope="module")
def pipeline():
    return LongVideoPipeline.from_pretrained("lavie-tiny", device="cpu")


@pytest.fixture(scope="module")
def plain(pipeline):
    """20 frames by the extension stage: one recursion after the base's clip."""
    return pipeline(PROMPT, 20, method="conditioned", **QUICK).frames


def test_the_extension_goes_on_from_the_bases_own_clip(pipeline, plain):
    clip = pipeline(PROMPT, 16, method="independent", **QUICK).frames
    assert plain.shape == (20, 64, 96, 3)
    assert np.abs(plain[:16].astype(int) - clip).max() <= 1
    assert np.array_equal(pipeline(PROMPT, 16, method="conditioned", **QUICK).frames, clip)


@pytest.mark.parametrize("method", ["conditioned", "replacement"])
def test_a_video_that_is_given_comes_back_and_goes_on(pipeline, plain, method):
    given = plain[:5, :60, :90]
    made = pipeline(PROMPT, 9, method=method, video=given, **QUICK)
    assert made.frames.shape == (9, 60, 90, 3)
    assert np.array_equal(made.frames[:5], given)
    assert alike_neighbours(made.frames[4:]) > 0.5
    assert made.metadata["method"] == method


def test_an_anchor_holds_the_recursions_and_leaves_the_clip(pipeline, plain):
    made = pipeline(PROMPT, 20, method="conditioned", anchor=1.0, **QUICK)
    assert np.array_equal(made.frames[:16], plain[:16])
    assert not np.array_equal(made.frames[16:], plain[16:])
    assert made.metadata["anchor"] == 1.0


def test_a_video_of_another_size_is_brought_to_the_one_that_is_asked_for(pipeline, plain):
    given = plain[:2, :, :48]
    made = pipeline(PROMPT, 4, method="replacement", video=given, resize="crop", height=32, width=32, **QUICK).frames
    assert made.shape == (4, 32, 32, 3)
    assert np.array_equal(made[:2], resized_frames(given, (32, 32), "crop"))


def test_the_extension_makes_what_its_own_pipeline_makes(pipeline, plain):
    extension = ExtensionPipeline.from_pretrained("lavie-tiny", device="cpu")
    given = plain[:1]
    alone = extension(PROMPT, given, num_frames=15, **QUICK).frames
    made = pipeline(PROMPT, 16, method="conditioned", video=given, **QUICK).frames
    # The one encodes the mean of what the VAE sees, the other a sample of it.
    assert np.abs(made.astype(int) - alone).mean() < 20


def test_prompts_that_change_reach_the_extension(pipeline, plain):
    prompts = PromptSchedule.parse(f"0: {PROMPT}, 16: a blue star over the sea")
    changed = pipeline(prompts, 20, method="conditioned", **QUICK).frames
    same = pipeline(PromptSchedule.parse(f"0: {PROMPT}"), 20, method="conditioned", **QUICK).frames
    assert np.abs(changed[:16].astype(int) - plain[:16]).max() <= 1
    assert np.abs(same.astype(int) - plain).max() <= 1
    assert np.abs(changed[16:].astype(int) - plain[16:]).mean() > 1


def test_a_lora_is_on_both_stages_and_leaves_both(pipeline, plain):
    sunset = Lora.read(pipeline.stage.family.path("loras/lavie-tiny-sunset.safetensors"))
    pipeline.set_loras([sunset])
    warm = pipeline(PROMPT, 20, method="conditioned", **QUICK).frames
    pipeline.set_loras([])
    for part in (slice(0, 16), slice(16, 20)):
        assert not np.array_equal(warm[part], plain[part])
    assert np.array_equal(pipeline(PROMPT, 20, method="conditioned", **QUICK).frames, plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "fifo"}, "begins anew"),
        ({"method": "replacement", "height": 64}, "sets the size; give no other, or set resize"),
        ({"method": "replacement", "resize": "squeeze"}, "Unknown resize 'squeeze'. Choose one of: refuse, crop, str"),
        ({"method": "conditioned", "num_frames": 3}, "3 frames already"),
        ({"method": "replacement", "context_frames": 4}, "context is 4 frames, but the video has only 3"),
        ({"method": "conditioned", "resample": 2}, "no setting resample"),
        ({"method": "conditioned", "context_frames": 2}, "one frame"),
        ({"method": "conditioned", "num_frames": 0}, "number of frames"),
        ({"method": "conditioned", "anchor": 2.0}, "anchor must be between 0 and 1"),
    ],
)
def test_what_cannot_go_on_is_refused(pipeline, plain, settings, message):
    with pytest.raises(UsageError, match=message):
        pipeline(PROMPT, **{"num_frames": 9, "video": plain[:3], **QUICK, **settings})


# the command


def run(capsys, tmp_path, *arguments):
    file = tmp_path / "long.mp4"
    common = ["-o", str(file), "--steps", "2", "--quiet", "--device", "cpu", "--json"]
    code = main(["extend", *arguments, *common])
    captured = capsys.readouterr()
    return code, captured, file


def test_the_command_makes_a_long_video_of_prompts_in_a_file(capsys, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"0: {PROMPT}\n10: a blue star over the sea\n")
    code, captured, file = run(
        capsys,
        tmp_path,
        str(prompts),
        "--prompt-file",
        "--frames",
        "18",
        "--transition",
        "4",
        "--method",
        "free_noise",
        "--motion-injection",
    )
    assert code == 0
    assert read_video(file).frames.shape == (18, 64, 96, 3)
    metadata = json.loads(captured.out)["videos"][0]["metadata"]
    assert (metadata["method"], metadata["motion_injection"]) == ("free_noise", True)
    assert metadata["prompt"].splitlines()[1] == "10: a blue star over the sea"


def test_the_command_goes_on_from_a_film_by_the_extension_stage(capsys, tmp_path, plain):
    write_video(tmp_path / "start.mp4", plain[:4], fps=8)
    go_on = [PROMPT, "--video", str(tmp_path / "start.mp4"), "--frames", "8"]
    code, captured, file = run(capsys, tmp_path, *go_on, "--size", "32x48", "--resize", "stretch")
    assert code == 0
    assert read_video(file).frames.shape == (8, 32, 48, 3)
    assert json.loads(captured.out)["videos"][0]["metadata"]["method"] == "conditioned"


def without_extension(folder):
    """The bundled family but for that stage."""
    bundled = find_family("lavie-tiny")
    stages = json.loads((bundled.folder / "family.json").read_text("utf-8"))
    del stages["extension"]
    for stage in CASCADE:
        stages[stage] |= {part: str(bundled.path(stages[stage][part])) for part in PARTS}
    (folder / "family.json").write_text(json.dumps(stages), "utf-8")
    return str(folder)


@pytest.mark.parametrize(("has_extension", "method"), [(True, "conditioned"), (False, "replacement")])
def test_the_command_and_the_pipeline_choose_the_same_method(capsys, tmp_path, has_extension, method):
    model = "lavie-tiny" if has_extension else without_extension(tmp_path)
    small = {"height": 16, "width": 24, "num_inference_steps": 1}
    made = LongVideoPipeline.from_pretrained(model, device="cpu")(PROMPT, 18, **small)
    code, captured, _ = run(capsys, tmp_path, PROMPT, "--frames", "18", "--size", "16x24", "--model", model)
    assert code == 0
    stored = json.loads(captured.out)["videos"][0]["metadata"]
    assert made.metadata["method"] == stored["method"] == method


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["3: late"], "begin at frame 3"),
        (["0: a, 9: b, 4: c"], "frames must rise"),
        (["0: a, 9: b, 9: c"], "Two prompts begin at frame 9"),
        (["0: a, 40: b", "--frames", "30"], "begins at frame 40"),
        (["a", "--frames", "0"], "between 1 and"),
        (["a", "--frames", "100000"], "between 1 and"),
        (["a", "--frames", "10000", "--method", "free_noise"], "10000 frames in one pass would take 13 GB or more"),
        (["a", "--method", "fifo", "--resample", "3"], "no setting resample"),
        (["a", "--anchor", "2"], "between 0 and 1"),
        (["a", "--method", "fifo", "--motion-injection"], "no setting motion_injection"),
        (["a", "--motion", "-1"], "between 0 and 20"),
        (["gone.txt", "--prompt-file"], "cannot be read"),
    ],
)
def test_the_command_refuses_in_a_sentence(capsys, tmp_path, arguments, message):
    code, captured, file = run(capsys, tmp_path, *arguments)
    assert code == 2
    assert message in captured.err
    assert not file.exists()


# the measures


def test_a_hard_cut_is_a_seam_and_a_steady_move_is_none():
    moving = np.cumsum(np.full((80, 4, 6, 3), 2), axis=0).astype(np.uint8)
    cut = moving.copy()
    cut[16:] += 40
    assert seam_ratio([moving], [16]) == pytest.approx(1)
    assert seam_ratio([cut], [16]) == pytest.approx(21)
    assert seam_ratio([cut], [32]) == pytest.approx(1)


def test_joins_lie_where_a_method_begins_anew():
    assert joins_of("conditioned") == [16, 31, 46, 61, 76]
    assert joins_of("replacement") == [16, 28, 40, 52, 64, 76]
    assert joins_of("independent") == joins_of("fifo") == [16, 32, 48, 64]


def test_the_long_suite_measures_a_method(capsys, monkeypatch):
    monkeypatch.setattr(long, "NUM_FRAMES", 32)
    command = ["evaluate", "long", "--clips", "1", "--steps", "2", "--method", "independent", "--device", "cpu"]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    found = figures["methods"]["independent"]
    assert len(found["segments"]) == 2
    assert found["segments"][0]["colour drift"] == 0
    assert found["seam"] > 1
    assert "seconds: per frame" in long.show(figures)
    assert main(["evaluate", "long", "--method", "magic", "--clips", "1"]) == 2
    assert "Unknown method 'magic'" in capsys.readouterr().err
