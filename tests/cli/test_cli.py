"""The command line: what goes in, what comes out, and one clear line when it cannot be."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.networks import small_vae
from support.training_family import small_unet

from lab.architecture import UNETS, new_text_encoder, tokenizer_of
from lavie.checkpoints import save_unet
from lavie.cli import main
from lavie.cli.arguments import lora_choice
from lavie.config import find_family
from lavie.errors import Cancelled
from lavie.models.text_encoder import save_text_model
from lavie.video import read_metadata, read_video, write_video

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"text_encoder": "text_encoder", "tokenizer": "tokenizer", "num_inference_steps": 2}
FAMILY = {
    "name": "random",
    "base": {"unet": "base", "vae": "vae", "num_frames": 3, "height": 16, "width": 24, "fps": 8, **PARTS},
    "interpolation": {"unet": "interpolation", "vae": "vae", "fps": 24, **PARTS},
    "upscaler": {"unet": "upscaler", "vae": "upscaler_vae", "prediction_type": "v_prediction", **PARTS},
}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A model family of small networks with random weights."""
    folder = tmp_path_factory.mktemp("family")
    torch.manual_seed(0)
    for stage in UNETS:
        (folder / stage).mkdir()
        save_unet(small_unet(stage), folder / stage / "model.safetensors", config_file=True)
    small_vae(8, 8, 8, 8).save_pretrained(folder / "vae")
    small_vae(8, 8, 8).save_pretrained(folder / "upscaler_vae")
    save_text_model(new_text_encoder(tokenizer_of(folder)), folder / "text_encoder")
    (folder / "family.json").write_text(json.dumps(FAMILY))
    return folder


@pytest.fixture
def lavie(capsys):
    """Runs a command: exit code, standard output, standard error."""

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "in.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 24, 3)).astype(np.uint8)
    write_video(path, frames, fps=8, metadata={"prompt": "a red ball", "seed": 3})
    return path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# -- generate, interpolate, upscale ------------------------------------------------------------------------------------


def test_generate_makes_a_long_large_film_that_knows_how_it_was_made(family, lavie, tmp_path):
    out = tmp_path / "ball.mp4"
    code, answer, error = lavie("generate", "a red ball", "-o", out, "--model", family, "--seed", 5, "--json")
    made = json.loads(answer)["videos"][0]
    clip = read_video(out)
    assert code == 0
    assert (made["file"], made["frames"], made["height"], made["width"], made["fps"]) == (str(out), 9, 64, 96, 24)
    assert clip.frames.shape == (9, 64, 96, 3)
    assert clip.metadata == made["metadata"]
    assert (clip.metadata["prompt"], clip.metadata["seed"]) == ("a red ball", 5)
    assert [line.split(":")[0] for line in error.splitlines()] == [
        "base", "base decode", "interpolation", "interpolation decode", "upscaler", "upscaler decode"
    ]  # fmt: skip


def test_generate_passes_every_setting_on(family, lavie, tmp_path):
    code, *_ = lavie(
        "generate", "a fish", "-o", tmp_path / "fish.gif", "--model", family, "--no-interpolate", "--no-upscale",
        "--frames", 2, "--size", "24x16", "--steps", 3, "--guidance-scale", 1.5, "--scheduler", "euler",
        "--spacing", "karras", "--negative-prompt", "blue", "--dtype", "bfloat16", "--device", "cpu", "--quiet",
    )  # fmt: skip
    stored = read_metadata(tmp_path / "fish.gif")
    assert code == 0
    assert stored["num_inference_steps"] == 3
    assert stored["guidance_scale"] == 1.5
    assert (stored["scheduler"], stored["spacing"], stored["negative_prompt"]) == ("euler", "karras", "blue")
    assert read_video(tmp_path / "fish.gif").frames.shape == (2, 24, 16, 3)


def test_a_speed_is_for_every_stage_and_what_is_set_counts_before_it(family, lavie, tmp_path):
    def stored(*options):
        short = ("--model", family, "--frames", 2, "--size", "24x16", "--quiet", "--speed", "balanced")
        code, *_ = lavie("generate", "a fish", "-o", tmp_path / "fish.gif", *short, *options)
        assert code == 0
        return read_metadata(tmp_path / "fish.gif")

    made = stored()
    stages = [made, *made["stages"].values()]
    assert [stage["speed"] for stage in stages] == ["balanced"] * 3
    own = [find_family(family).stage(name).num_inference_steps for name in ("base", "interpolation", "upscaler")]
    assert [stage["num_inference_steps"] for stage in stages] == [max(1, round(steps / 2)) for steps in own]
    mine = stored("--steps", 3, "--scheduler", "euler", "--spacing", "karras", "--no-interpolate", "--no-upscale")
    assert (mine["num_inference_steps"], mine["scheduler"], mine["speed"]) == (3, "euler", "balanced")


def test_generate_puts_loras_on_and_remembers_them(family, lavie, tmp_path):
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_v"
    random = torch.Generator().manual_seed(0)
    tensors = {
        f"{stem}.lora_down.weight": torch.randn(2, 32, generator=random),
        f"{stem}.lora_up.weight": torch.randn(32, 2, generator=random),
        f"{stem.replace('unet', 'te').replace('mid_block', 'gone')}.diff": torch.ones(2, 2),
    }
    save_file(tensors, tmp_path / "style.safetensors")

    def made(name, *loras):
        code, *_ = lavie(
            "generate", "a fish", "-o", tmp_path / f"{name}.gif", "--model", family, "--no-upscale", "--quiet",
            *(part for lora in loras for part in ("--lora", f"{tmp_path / 'style.safetensors'}{lora}")),
        )  # fmt: skip
        assert code == 0
        return read_video(tmp_path / f"{name}.gif")

    plain, zero, one, two = made("plain"), made("zero", ":0"), made("one", ":0.75"), made("two", ":0.25:1", ":0.5")
    assert "loras" not in plain.metadata
    assert np.array_equal(plain.frames, zero.frames)
    assert not np.array_equal(plain.frames, one.frames)
    # Plain LoRAs add up, but for the last bit of the sums, and this one leaves the text alone.
    assert np.abs(one.frames.astype(int) - two.frames).max() <= 1
    assert two.metadata["loras"] == [
        {"name": "style.safetensors", "strength": 0.25, "text_strength": 1.0},
        {"name": "style.safetensors", "strength": 0.5, "text_strength": 0.5},
    ]


def test_interpolate_takes_loras_and_upscale_does_not(family, lavie, clip, tmp_path):
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v"
    change = torch.randn(32, 128, generator=torch.Generator().manual_seed(0))
    save_file({f"{stem}.diff": change}, tmp_path / "x.safetensors")
    frames = []
    for name, loras in (("plain", ()), ("with", ("--lora", tmp_path / "x.safetensors"))):
        code, *_ = lavie("interpolate", clip, "-o", tmp_path / f"{name}.gif", "--model", family, *loras)
        assert code == 0
        made = read_video(tmp_path / f"{name}.gif")
        frames.append(made.frames)
    assert not np.array_equal(*frames)
    assert made.metadata["loras"] == [{"name": "x.safetensors", "strength": 1.0, "text_strength": 1.0}]
    code, _, error = lavie("upscale", clip, "-o", tmp_path / "x.gif", "--model", family, "--lora", "x.safetensors")
    assert code == 2
    assert "--lora" in error


def test_a_colon_within_a_loras_path_stays_there():
    assert lora_choice("x.safetensors") == ("x.safetensors",)
    assert lora_choice("x.safetensors:0.5") == ("x.safetensors", 0.5)
    assert lora_choice("x.safetensors:1:-2") == ("x.safetensors", 1.0, -2.0)
    assert lora_choice(r"C:\loras\x.safetensors:1") == (r"C:\loras\x.safetensors", 1.0)
    assert lora_choice("3:2:1:0") == ("3:2", 1.0, 0.0)


def test_generate_repaints_a_video_and_remembers_its_strength_and_source(family, lavie, clip, tmp_path):
    arguments = ("generate", "a blue ball", "--video", clip, "--model", family, "--steps", 1, "--quiet")
    code, answer, _ = lavie(*arguments, "--strength", 0.5, "-o", tmp_path / "blue.mp4", "--json")
    made = read_video(tmp_path / "blue.mp4")
    assert code == 0
    assert (made.frames.shape, made.fps) == ((9, 64, 96, 3), 24)
    assert json.loads(answer)["videos"][0]["metadata"] == made.metadata
    expected = {"strength": 0.5, "num_frames": 3, "height": 16, "width": 24, "prompt": "a blue ball"}
    assert expected.items() <= made.metadata.items()
    assert made.metadata["source"] == {"prompt": "a red ball", "seed": 3}
    assert set(made.metadata["stages"]) == {"interpolation", "upscaler"}
    code, *_ = lavie(*arguments, "-o", tmp_path / "more.mp4", "--no-interpolate", "--no-upscale")
    assert (code, read_metadata(tmp_path / "more.mp4")["strength"]) == (0, 0.6)


def test_every_line_of_a_prompt_file_makes_a_video_of_its_own(family, lavie, tmp_path):
    (tmp_path / "prompts.txt").write_text("\ufeffa red ball\n\n  grünes Gras 🐟 \n", encoding="utf-8")
    short = ("--model", family, "--no-interpolate", "--no-upscale", "--steps", 1)
    code, answer, _ = lavie("generate", "--prompt-file", tmp_path / "prompts.txt", "-o", f"{tmp_path}/out/", *short)
    assert code == 0
    assert len(answer.splitlines()) == 2
    assert read_metadata(tmp_path / "out_1")["prompt"] == "a red ball"
    assert read_metadata(tmp_path / "out_2")["prompt"] == "grünes Gras 🐟"


def test_interpolate_keeps_the_duration_and_takes_the_prompt_from_the_file(family, lavie, clip, tmp_path):
    code, answer, error = lavie("interpolate", clip, "-o", tmp_path / "out.webm", "--model", family, "--quiet")
    made = read_video(tmp_path / "out.webm")
    assert (code, error) == (0, "")
    assert answer.startswith(f"{tmp_path / 'out.webm'}: 9 frames of 16x24 at 24 fps, made in ")
    assert made.frames.shape == (9, 16, 24, 3)
    assert made.metadata["prompt"] == "a red ball"
    assert made.metadata["source"] == {"prompt": "a red ball", "seed": 3}


def test_upscale_passes_windows_tiles_and_noise_on(family, lavie, clip, tmp_path):
    code, *_ = lavie(
        "upscale", clip, "-o", tmp_path / "f_%02d.png", "--model", family, "--prompt", "a blue ball", "--fps", 12,
        "--noise-level", 7, "--window", 2, "--overlap", 1, "--tile", 16, "--tile-overlap", 8, "--steps", 1,
    )  # fmt: skip
    made = read_video(tmp_path / "f_%02d.png")
    assert code == 0
    assert made.frames.shape == (3, 64, 96, 3)
    assert made.fps == 12
    expected = {"prompt": "a blue ball", "noise_level": 7, "window": 2, "overlap": 1, "tile": 16, "tile_overlap": 8}
    assert expected.items() <= made.metadata.items()


def test_the_official_chunks_can_be_asked_for(family, lavie, clip, tmp_path):
    code, *_ = lavie(
        "upscale", clip, "-o", tmp_path / "out.mp4", "--model", family, "--chunks", "official", "--steps", 1
    )
    assert code == 0
    assert read_metadata(tmp_path / "out.mp4")["chunks"] == "official"


@pytest.mark.parametrize(
    ("moment", "stop"), [("base", KeyboardInterrupt), ("base decode", Cancelled), ("interpolation", KeyboardInterrupt)]
)
def test_a_stop_at_any_stage_leaves_the_older_file_and_nothing_new(moment, stop, family, lavie, tmp_path, monkeypatch):
    def interrupted(self, stage, step, total, timestep, x0):
        if stage == moment:
            raise stop

    monkeypatch.setattr("lavie.cli.progress.StageProgress.__call__", interrupted)
    (tmp_path / "ball.mp4").write_text("older")
    code, answer, error = lavie("generate", "a ball", "-o", tmp_path / "ball.mp4", "--model", family)
    assert (code, answer, error.count("\n")) == (130, "", 1)
    assert (tmp_path / "ball.mp4").read_text() == "older"
    assert files(tmp_path) == ["ball.mp4"]


# -- wrong usage -------------------------------------------------------------------------------------------------------

PROMPT = ("generate", "a ball")
WRONG_USAGE = {
    (): "COMMAND",
    ("paint",): "invalid choice: 'paint'",
    PROMPT: "-o/--output",
    ("generate", "-o", "x.mp4"): "Give a prompt",
    ("generate", " ", "-o", "x.mp4"): "prompt is empty",
    ("generate", "a", "--prompt-file", "b", "-o", "x.mp4"): "Give a prompt",
    ("generate", "--prompt-file", "missing.txt", "-o", "x.mp4"): "missing.txt cannot be read",
    ("generate", "--prompt-file", ".", "-o", "x.mp4"): "cannot be read",
    ("generate", "--prompt-file", "empty.txt", "-o", "x.mp4"): "empty.txt is empty",
    ("generate", "--prompt-file", "in.mp4", "-o", "x.mp4"): "no UTF-8 text",
    ("generate", "--prompt-file", "two.txt", "-o", "x_%d.png"): "share one name pattern",
    (*PROMPT, "-o", "x.mp4", "--size", "64"): "HEIGHTxWIDTH",
    (*PROMPT, "-o", "x.mp4", "--size", "60x96"): "divisible by 8",
    (*PROMPT, "-o", "x.mp4", "--size", "0x96"): "divisible by 8",
    (*PROMPT, "-o", "x.mp4", "--size", "1000000x1000000"): "divisible by 8, from 8 to 8192",
    (*PROMPT, "-o", "x.mp4", "--frames", "0"): "between 1 and 10000, not 0",
    (*PROMPT, "-o", "x.mp4", "--frames", "1e3"): "no whole number",
    (*PROMPT, "-o", "x.mp4", "--steps", "0"): "between 1 and 1000, not 0",
    (*PROMPT, "-o", "x.mp4", "--steps", "1001"): "between 1 and 1000, not 1001",
    (*PROMPT, "-o", "x.mp4", "--seed", "-1"): "between 0 and",
    (*PROMPT, "-o", "x.mp4", "--guidance-scale", "nan"): "between 0 and 100, not nan",
    (*PROMPT, "-o", "x.mp4", "--guidance-scale", "inf"): "between 0 and 100, not inf",
    (*PROMPT, "-o", "x.mp4", "--guidance-scale", "much"): "no number",
    (*PROMPT, "-o", "x.mp4", "--scheduler", "magic"): "invalid choice: 'magic' (choose from",
    (*PROMPT, "-o", "x.mp4", "--spacing", "magic"): "invalid choice: 'magic' (choose from",
    (*PROMPT, "-o", "x.mp4", "--scheduler", "lcm", "--steps", "60"): "between 1 and 50",
    (*PROMPT, "-o", "x.mp4", "--model", "magic"): "Choose 'lavie-tiny' (bundled), 'lavie' (released weights)",
    (*PROMPT, "-o", "x.mp4", "--dtype", "float8"): "invalid choice: 'float8'",
    (*PROMPT, "-o", "x.mp4", "--speed", "warp"): "invalid choice: 'warp'",
    (*PROMPT, "-o", "x.mp4", "--lora", "gone"): "no file gone, nor one that comes with lavie-tiny (lavie-tiny-sunset)",
    (*PROMPT, "-o", "x.mp4", "--lora", ":1"): "names no file",
    (*PROMPT, "-o", "x.mp4", "--lora", "lavie-tiny-sunset:1e9"): "must be between -20 and 20, not 1e+09",
    (*PROMPT, "-o", "x.mp4", "--strength", "0.5"): "--strength needs --video",
    (*PROMPT, "-o", "x.mp4", "--video", "in.mp4", "--strength", "0"): "between 0.01 and 1, not 0",
    (*PROMPT, "-o", "x.mp4", "--video", "in.mp4", "--strength", "1.1"): "between 0.01 and 1, not 1.1",
    (*PROMPT, "-o", "x.mp4", "--video", "in.mp4", "--strength", "much"): "no number",
    (*PROMPT, "-o", "x.mp4", "--video", "in.mp4", "--frames", "8"): "leave out --frames and --size",
    (*PROMPT, "-o", "x.mp4", "--video", "in.mp4", "--size", "16x24"): "leave out --frames and --size",
    (*PROMPT, "-o", "x.mp4", "--video", "in.mp4", "--steps", "900"): "Take fewer steps or more strength",
    (*PROMPT, "-o", "in.mp4", "--video", "in.mp4"): "is the input, too",
    (*PROMPT, "-o", "x.mp4", "--video", "missing.mp4"): "missing.mp4 does not exist",
    (*PROMPT, "-o", "x.mp4", "--video", "two.txt"): "no video",
    (*PROMPT, "-o", "x.avi"): ".mp4, .webm, .gif",
    (*PROMPT, "-o", "missing/x.mp4"): "output folder missing does not exist",
    ("upscale", "missing.mp4", "-o", "x.mp4"): "missing.mp4 does not exist",
    ("upscale", "empty.txt", "-o", "x.mp4"): "is empty (0 bytes)",
    ("upscale", "two.txt", "-o", "x.mp4"): "no video",
    ("interpolate", ".", "-o", "x.mp4"): "without numbered images",
    ("interpolate", "in.mp4", "-o", "in.mp4"): "is the input, too",
    ("interpolate", "in.mp4", "-o", "x.mp4", "--fps", "0"): "between 0.01 and 1000",
    ("upscale", "in.mp4", "-o", "x.mp4", "--noise-level", "351"): "between 0 and 350",
    ("upscale", "in.mp4", "-o", "x.mp4", "--chunks", "tiny"): "invalid choice: 'tiny'",
    ("info", "missing.mp4"): "missing.mp4 does not exist",
    ("info", "missing.safetensors"): "missing.safetensors does not exist",
    ("download",): "Say what to download: lavie, all,",
    ("download", "magic"): "'magic' is nothing to download",
    ("convert", "in.mp4", "out.pt"): "does not end in .safetensors",
}


@pytest.mark.parametrize("arguments", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_ends_with_2_and_one_line_and_writes_nothing(arguments, lavie, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("")
    Path("two.txt").write_text("a\nb\n")
    code, answer, error = lavie(*arguments)
    assert (code, answer) == (2, "")
    assert error.startswith("lavie: error: ")
    assert WRONG_USAGE[arguments] in error
    assert error.count("\n") == 1
    assert files(tmp_path) == ["empty.txt", "in.mp4", "two.txt"]


def test_errors_are_json_too_where_a_program_reads_the_answer(lavie):
    code, answer, error = lavie("info", "missing.mp4", "--json")
    assert code == 2
    assert json.loads(answer) == {"error": "missing.mp4 does not exist."}
    assert error == "lavie: error: missing.mp4 does not exist.\n"


def test_a_read_only_output_folder_is_told_before_the_model_is_looked_for(lavie, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lavie.locks._opened", refuse)
    code, _, error = lavie("generate", "a ball", "-o", tmp_path / "x.mp4", "--model", "no such model")
    assert (code, error) == (
        2,
        f"lavie: error: {tmp_path / 'x.mp4'} cannot be written: {tmp_path} does not allow it (Permission denied).\n",
    )


def test_a_failure_ends_with_1_and_one_line(family, lavie, tmp_path):
    (tmp_path / "family.json").write_text("{}")
    code, _, error = lavie("generate", "a ball", "-o", tmp_path / "x.mp4", "--model", tmp_path)
    assert (code, error.count("\n")) == (1, 1)
    assert "family.json" in error
    assert files(tmp_path) == ["family.json"]


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_debug(lavie, clip, monkeypatch):
    def broken(path):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("lavie.cli.info.probe_video", broken)
    code, _, error = lavie("info", clip)
    assert (code, error) == (1, "lavie: error: RuntimeError: first line second line (--debug shows where)\n")
    code, _, error = lavie("info", clip, "--debug")
    assert code == 1
    assert "Traceback" in error
    assert "in broken" in error


# -- info, convert, download -------------------------------------------------------------------------------------------


def test_info_prints_the_settings_of_a_film_back(lavie, clip):
    code, answer, _ = lavie("info", clip)
    assert code == 0
    assert answer == (
        f"path: {clip}\nkind: video\nframes: 3\nheight: 16\nwidth: 24\nfps: 8.0\n"
        "metadata:\n  prompt: a red ball\n  seed: 3\n"
    )
    _, answer, _ = lavie("info", clip, "--json")
    assert json.loads(answer)["metadata"] == {"prompt": "a red ball", "seed": 3}


def test_info_tells_what_checkpoints_models_and_frame_folders_are(family, lavie, tmp_path):
    code, answer, _ = lavie("info", family / "interpolation" / "model.safetensors", "--json")
    assert (code, json.loads(answer)["stage"]) == (0, "interpolation")
    code, answer, _ = lavie("info", family)
    assert (code, "kind: family" in answer) == (0, True)
    write_video(f"{tmp_path}/frames/", np.zeros((2, 8, 8, 3), np.uint8), fps=6)
    code, answer, _ = lavie("info", tmp_path / "frames")
    assert (code, "frames: 2" in answer, "fps: 6" in answer) == (0, True, True)


def test_convert_writes_safetensors_in_the_precision_asked_for(family, lavie, tmp_path):
    source, target = family / "base" / "model.safetensors", tmp_path / "new.safetensors"
    code, answer, error = lavie("convert", source, target, "--dtype", "float16")
    assert (code, error) == (0, "")
    assert answer.startswith(f"{target}: base, ")
    assert target.stat().st_size < 0.6 * source.stat().st_size
    code, _, error = lavie("convert", source, target)
    assert (code, "is there already" in error) == (2, True)


def test_download_lists_sizes_and_licences_without_a_network(lavie):
    code, answer, _ = lavie("download", "--list")
    assert code == 0
    assert "3.6 GB  base: a text becomes 16 frames" in answer
    assert "CreativeML OpenRAIL-M" in answer
    _, answer, _ = lavie("download", "--list", "--json")
    assert {"lavie_base", "seine", "clip-tokenizer"} <= {release["name"] for release in json.loads(answer)["releases"]}


def test_download_without_a_terminal_shows_the_licence_and_fetches_nothing(lavie, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    code, _, error = lavie("download", "lavie_base", "--dest", tmp_path / "models")
    assert code == 1
    assert "free for commercial use" in error
    assert "`--yes` accepts them" in error
    assert not (tmp_path / "models").exists()


# -- as a program ------------------------------------------------------------------------------------------------------


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, **options)


def test_help_and_wrong_usage_load_no_torch():
    script = (
        "import sys; from lavie.cli import main\n"
        "for argv in (['generate', 'x', '-o', 'x.mp4', '--size', '7x7'], ['--help']):\n"
        "    try: print(main(argv))\n"
        "    except SystemExit as ended: print(ended.code)\n"
        "print('torch' in sys.modules)"
    )
    answer = python("-c", script).stdout.split()
    assert answer[0] == "2"
    assert answer[-2:] == ["0", "False"]


def test_help_explains_each_command():
    answer = python("-m", "lavie", "--help").stdout
    for command in ("generate", "interpolate", "upscale", "train", "evaluate", "convert", "download", "info"):
        assert f"\n    {command} " in answer or f"\n    {command}\n" in answer


def test_help_names_every_scheduler_spacing_and_way_of_chunks(lavie):
    from lavie.config import CHUNKS
    from lavie.schedulers import SCHEDULERS, SPACINGS

    words = set(lavie("upscale", "--help")[1].replace(",", " ").replace("{", " ").replace("}", " ").split())
    assert {*SCHEDULERS, *SPACINGS, *CHUNKS} <= words | {"default"}


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, 1), (signal.SIGTERM, 4)])
def test_a_signal_while_loading_or_sampling_ends_with_130_and_leaves_nothing(number, seconds, family, tmp_path):
    endless = ["--frames", "500", "--steps", "1000", "--no-interpolate", "--no-upscale"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lavie", "generate", "a ball", "-o", tmp_path / "x.mp4", "--model", family, *endless],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # A job in a shell's background ignores Ctrl-C, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode in (130, -signal.SIGINT)  # a shell says 130 to both
    assert error == "lavie: error: stopped; unfinished files were not written.\n"
    assert files(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_on_a_terminal_the_first_line_comes_before_the_heavy_imports():
    ours, theirs = os.openpty()
    command = [sys.executable, "-X", "importtime", "-m", "lavie", "generate", "a ball", "-o", "x.mp4", "--lora", "no"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=ROOT):
        os.close(theirs)
        seen = b""
        while b"loading lavie-tiny" not in seen:
            seen += os.read(ours, 4096)
        before = seen.partition(b"loading lavie-tiny")[0]
        with suppress(OSError):  # the other end is closed
            while os.read(ours, 4096):
                pass
    os.close(ours)
    assert b"lavie.cli" in before
    assert b"torch" not in before
