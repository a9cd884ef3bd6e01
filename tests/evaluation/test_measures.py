"""The measures are right where the answer is known, and every suite runs on the bundled weights."""

import json
import math

import numpy as np
import pytest
import torch
from support.films import make_captioned

from lab.measures import fidelity, gap, lora, retention
from lab.measures.held_out import SHARES
from lab.world.grammar import PLACES, STILL_PLACES, scene_of
from lab.world.render import render
from lab.world.view import SECONDS
from lavie.cli import main
from lavie.config import find_family
from lavie.evaluation import interpolation, speed, upscaler
from lavie.evaluation.arithmetic import counted_arithmetic
from lavie.evaluation.fidelity import edge_error, flicker, psnr, sharpness, squared_error, ssim
from lavie.evaluation.report import SuiteRequest, rounded, table
from lavie.models.latents import to_uint8
from lavie.speed import SPEEDS, Speed


@pytest.fixture(scope="module")
def clip():
    """A rendered clip of 9 frames, 64×96, and its guest's coverage."""
    scene = scene_of(5, 1, kind="kite", motion="moving right", place="dunes", weather="clear")
    film = render(scene, torch.linspace(0, SECONDS, 9), 64, 96)
    return to_uint8(film.video).permute(1, 2, 3, 0).numpy(), film.mask[0].numpy()


def test_blending_makes_a_linear_fade_exactly():
    fade = np.broadcast_to(np.arange(0, 244, 4, dtype=np.uint8)[:, None, None, None], (61, 4, 6, 3))
    assert np.array_equal(interpolation.blend(fade[::4]), fade)
    errors = interpolation.errors_by_place(interpolation.blend(fade[::4]), fade, np.ones((61, 4, 6)))
    assert [psnr(error) for error in errors.values()] == [math.inf] * 3


def test_blending_keeps_key_frames_and_misses_what_moves(clip):
    frames, guest = clip
    blended = interpolation.blend(frames[::4])
    assert np.array_equal(blended[::4], frames[::4])
    errors = interpolation.errors_by_place(blended, frames, guest)
    everywhere, between, moving = errors.values()
    assert 0 < everywhere < between < moving


def test_what_a_guest_sweeps_covers_it_now_and_at_both_key_frames(clip):
    _, guest = clip
    swept = interpolation.swept(guest)
    assert all((swept[frame] >= guest[key]).all() for frame, key in [(1, 0), (1, 1), (1, 4), (4, 4), (7, 8)])
    assert swept[1].sum() < guest[[0, 1, 4]].sum()


def test_psnr_of_a_known_error():
    black, grey = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4, 3), 51, np.uint8)
    assert psnr(squared_error(black, grey)) == pytest.approx(20 * math.log10(5))
    assert psnr(squared_error(grey, grey)) == math.inf
    half = np.zeros((2, 4, 4))
    half[:, :2] = 1
    grey[:, 2:] = 0
    assert squared_error(black, grey, half) == pytest.approx(51**2)
    assert squared_error(black, grey) == pytest.approx(51**2 / 2)


def test_structural_similarity_sees_structure_and_not_a_change_of_brightness(clip):
    frames, _ = clip
    noise = np.random.default_rng(0).integers(-30, 31, frames.shape)
    noisy = np.clip(frames.astype(int) + noise, 0, 255).astype(np.uint8)
    brighter = (frames // 2 + 64).astype(np.uint8)
    assert ssim(frames, frames) == pytest.approx(1)
    assert ssim(noisy, frames) < 0.8 < ssim(brighter, brighter + np.uint8(8))
    flat = np.full((1, 16, 16, 3), 100, np.uint8)
    assert ssim(flat + np.uint8(50), flat) == pytest.approx((30000 + 6.5025) / (32500 + 6.5025))


def test_arithmetic_is_counted_call_by_call_and_leaves_the_network_as_it_was():
    layer = torch.nn.Linear(3, 5)
    with counted_arithmetic(layer) as counts:
        layer(torch.zeros(2, 3))
        layer(torch.zeros(4, 3))
    assert counts == [2 * 2 * 3 * 5, 2 * 4 * 3 * 5]
    assert "forward" not in layer.__dict__
    layer(torch.zeros(2, 3))
    assert len(counts) == 2


def test_the_truth_is_as_sharp_and_as_steady_as_the_truth(clip):
    frames, _ = clip
    assert (sharpness(frames, frames), edge_error(frames, frames), flicker(frames, frames)) == (1, 0, 0)


def test_blur_noise_and_flicker_tell_themselves_apart(clip):
    frames, _ = clip
    flat = np.full_like(frames, 128)
    noise = np.random.default_rng(0).integers(-12, 13, frames.shape)
    noisy = np.clip(frames.astype(int) + noise, 0, 255).astype(np.uint8)
    brighter = np.clip(frames.astype(int) + 20 * (np.arange(9) % 2)[:, None, None, None], 0, 255).astype(np.uint8)
    blurred = upscaler.bicubic(frames[:, 2::4, 2::4])
    assert (sharpness(flat, frames), edge_error(flat, frames)) == (0, 1)
    assert sharpness(blurred, frames) < 0.7 < 1 < sharpness(noisy, frames)
    assert edge_error(blurred, frames) > 0.3
    assert edge_error(noisy, frames) > 0.1
    assert flicker(brighter, frames) > 15 > 2 > flicker(frames + np.uint8(0), frames)
    assert edge_error(brighter, frames) < 0.05


def test_a_table_shows_every_figure_once_and_a_dash_for_none():
    lines = table("name", {"a": "{:.1f}", "b": "{:.0%}"}, {"x": {"a": 1.25, "b": 0.5}, "longer": {"a": None}})
    assert lines.split("\n") == [
        "name           a         b",
        "x            1.2       50%",
        "longer         –         –",
    ]


def test_json_holds_no_infinity():
    figures = rounded({"a": math.inf, "b": [1 / 3, math.nan], 3: "x"})
    assert json.loads(json.dumps(figures, allow_nan=False)) == {"a": None, "b": [0.3333, None], "3": "x"}


def test_retention_asks_for_the_place_that_only_images_taught():
    assert {scene.place for scene in retention.scenes_of("images", 6, seed=1)} == set(STILL_PLACES)
    assert {scene.place for scene in retention.scenes_of("clips", 20, seed=1)} == set(PLACES)


def evaluate(capsys, *arguments):
    assert main(["evaluate", *arguments, "--device", "cpu"]) == 0
    return capsys.readouterr().out


def test_a_lora_is_measured_on_and_off(capsys):
    sunset = str(find_family("lavie-tiny").path("loras/lavie-tiny-sunset.safetensors"))
    files = ("--lora", sunset, "--trigger", "zwx")
    figures = json.loads(evaluate(capsys, "lora", "--clips", "1", "--steps", "4", *files, "--json"))
    shares = figures["shares"]
    assert set(shares) == {"subject", "known", "others with", "others without", "judge"}
    assert shares["judge"]["kind"] == shares["judge"]["colour"] == shares["judge"]["motion"] == 1
    assert 5 < figures["kept"] < 30
    assert "other prompts, LoRA on" in lora.show(figures)


def test_the_gap_is_told_for_every_word_and_level(capsys):
    figures = gap.measure(SuiteRequest("lavie-tiny", clips=2, device="cpu"))
    assert set(figures["gap"]) == set(gap.SWAPS)
    assert set(figures["gap"]["colour"]) == {300, 500, 700, 900, "mean"}
    header, *rows = gap.show(figures).split("\n")
    assert header.split()[-5:] == ["t=300", "t=500", "t=700", "t=900", "mean"]
    assert [row.split()[0] for row in rows] == list(gap.SWAPS)
    assert "–" not in "".join(rows)


def test_a_word_that_changes_nothing_has_no_gap(monkeypatch):
    fixed, _ = gap.SWAPS["time"]
    monkeypatch.setattr(gap, "SWAPS", {"time": (fixed, lambda scene: scene)})
    figures = gap.measure(SuiteRequest("lavie-tiny", clips=1, device="cpu"))
    assert all(abs(value) < 1e-6 for value in figures["gap"]["time"].values())


def test_the_fidelity_suite_scores_generated_and_rendered_clips(capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ("fidelity", "--prompts", "2", "--steps", "2", "--sheet", str(sheet), "--json")
    figures = json.loads(evaluate(capsys, *arguments))
    assert figures["clips"] == 2
    assert figures["rendered"]["time"] == figures["rendered"]["weather"] == 1
    assert figures["made"].keys() <= fidelity.BARS.keys()
    assert "the judge on rendered clips" in fidelity.show(figures)
    assert sheet.exists()


def test_pictures_are_scored_without_what_moves(capsys):
    figures = json.loads(evaluate(capsys, "fidelity", "--stills", "--clips", "2", "--steps", "1", "--json"))
    assert figures["made"].keys() == figures["rendered"].keys() <= set(fidelity.IN_A_STILL)


def test_the_interpolation_suite_compares_with_blending_and_the_vae(capsys):
    figures = json.loads(evaluate(capsys, "interpolation", "--clips", "1", "--steps", "1", "--json"))
    decibels = figures["psnr"]
    assert list(decibels) == list(interpolation.METHODS)
    assert decibels["blending"]["in between"] > decibels["blending after the VAE"]["in between"]
    assert decibels["VAE alone"]["all frames"] > 15
    assert interpolation.PLACES[2] in interpolation.show(figures)


def test_the_upscaler_suite_compares_with_bicubic_and_the_vae(capsys):
    figures = json.loads(evaluate(capsys, "upscaler", "--clips", "1", "--steps", "1", "--json"))
    rows = figures["figures"]
    assert min(rows["VAE alone"]["PSNR"], rows["bicubic"]["PSNR"]) > 20
    assert rows["bicubic"]["sharpness"] < 0.9
    assert "flicker" in upscaler.show(figures)


@pytest.mark.parametrize(("suite", "figure"), [("interpolation", "psnr"), ("upscaler", "figures")])
def test_the_later_stages_are_measured_on_real_videos(capsys, tmp_path, suite, figure):
    make_captioned(tmp_path / "a.mp4", frames=64)
    figures = json.loads(evaluate(capsys, suite, "--videos", str(tmp_path), "--steps", "1", "--json"))
    assert figures["clips"] == 1
    assert figures[figure]["VAE alone"].keys() == figures[figure]["model"].keys()
    assert not [name for row in figures[figure].values() for name in row if "subject" in name or "moves" in name]


def test_the_retention_suite_tells_images_from_clips(capsys):
    figures = json.loads(evaluate(capsys, "retention", "--clips", "3", "--steps", "1", "--json"))
    assert figures["rendered"]["images"]["time"] == figures["rendered"]["clips"]["time"] == 1
    assert set(figures["made"]) == {"images", "clips"}
    assert "images, the judge on rendered clips" in retention.show(figures)


def test_the_speed_suite_compares_with_the_exact_way(capsys, monkeypatch):
    pipeline, make, _ = speed.STAGES["base"]
    monkeypatch.setitem(speed.STAGES, "base", (pipeline, make, {"exact": "exact", "half": Speed(guidance_from=0.6)}))
    figures = json.loads(evaluate(capsys, "speed", "--method", "base", "--clips", "2", "--steps", "2", "--json"))
    exact, half = (figures["stages"]["base"][name] for name in ("exact", "half"))
    assert (exact["faster"], exact["arithmetic"], exact["SSIM"], exact["PSNR"]) == (1, 1, 1, None)
    assert half["arithmetic"] == 0.75  # one of two steps has both halves of the guidance
    assert half["seconds"] > 0
    assert 5 < half["PSNR"] < 80  # the last step has little left to guide
    assert set(half["shares"]) <= set(SHARES)
    assert "as the prompt says" in speed.show(figures)


def test_the_speed_suite_compares_the_later_stages_with_the_truth_too(capsys, monkeypatch):
    pipeline, make, _ = speed.STAGES["upscaler"]
    cases = {"exact": "exact", "half": Speed(steps=0.5), "cached": Speed(full_every=2)}
    monkeypatch.setitem(speed.STAGES, "upscaler", (pipeline, make, cases))
    arguments = ("speed", "--method", "upscaler", "--clips", "2", "--steps", "2", "--guidance-scale", "1", "--json")
    figures = json.loads(evaluate(capsys, *arguments))
    rows = figures["stages"]["upscaler"]
    assert rows["half"]["arithmetic"] == 0.5 < rows["cached"]["arithmetic"] < 1
    assert min(row["truth"] for row in rows.values()) > 20
    assert max(row["truth"] for row in rows.values()) < 45 > rows["half"]["PSNR"] > 30
    assert "truth" in speed.show(figures)


def test_every_stage_has_its_presets_beside_the_exact_way():
    assert list(speed.STAGES) == ["base", "interpolation", "upscaler"]
    assert all(list(cases)[: len(SPEEDS)] == list(SPEEDS) for *_, cases in speed.STAGES.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speed", "--method", "magic"], "Unknown stage 'magic'"),
        (["extension"], "no extension stage"),
        (["extension", "--method", "magic"], "Unknown method 'magic'"),
        (["upscaler", "--stills"], "--stills belongs"),
        (["lora", "--presets-only"], "--presets-only belongs"),
        (["lora", "--lora", "a"], "needs --lora FILE and --trigger WORD"),
        (["fidelity", "--clips", "0"], "between 1 and"),
        (["nothing"], "invalid choice"),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, tmp_path, arguments, message):
    (tmp_path / "lavie_base.pt").touch()
    assert main(["evaluate", *arguments, "--model", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
