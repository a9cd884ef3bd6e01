"""--control: the video follows another, through a ControlNet with random weights that fits the bundled base."""

import json

import diffusers
import numpy as np
import pytest
import torch
from support.control import random

from lavie.cli import main
from lavie.config import BUNDLED, find_family
from lavie.models.restore import read_config
from lavie.video import read_metadata, read_video, write_video

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ("--frames", 4, "--size", "32x48", "--steps", 1, "--no-interpolate", "--no-upscale", "--dtype", "float32")
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A folder with a ControlNet, its file named as the public ones are."""
    folder = tmp_path_factory.mktemp("controlnet")
    config = read_config(find_family(BUNDLED).path("base") / "config.json", "base")
    own = {key: config[key] for key in ("block_out_channels", "layers_per_block", "norm_num_groups")}
    own |= {key: config[key] for key in ("attention_head_dim", "cross_attention_dim")}
    kinds = [kind.replace("3D", "2D") for kind in config["down_block_types"]]
    network = random(diffusers.ControlNetModel(down_block_types=kinds, **own), 1)
    torch.save(network.state_dict(), folder / "control_v11p_sd15_depth.pth")
    return folder / "control_v11p_sd15_depth.pth"


def video(path, frames):
    write_video(path, RANDOM.integers(0, 256, (frames, 32, 48, 3), dtype=np.uint8), 8, {})
    return path


@pytest.fixture
def lavie(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def test_generate_follows_a_video_and_remembers_which(lavie, tmp_path, net):
    hint = video(tmp_path / "maps.mp4", 4)
    frames = {}
    for name, control in {
        "plain": (),
        "none": ("--control", f"{net}:{hint}:0"),
        "full": ("--control", f"{net}:{hint}"),
    }.items():
        code, _, error = lavie("generate", "a red ball", "-o", tmp_path / f"{name}.mkv", *QUICK, *control)
        assert code == 0, error
        frames[name] = read_video(tmp_path / f"{name}.mkv").frames.astype(int)
    assert np.array_equal(frames["none"], frames["plain"])
    assert np.abs(frames["full"] - frames["plain"]).mean() > 1
    stored = read_metadata(tmp_path / "full.mkv")
    assert stored["controls"] == [{"name": net.name, "video": "maps.mp4", "strength": 1.0}]
    assert stored["control_timestep"] == "matched"


def test_the_kind_finds_its_network_beside_the_models(lavie, tmp_path, net, monkeypatch):
    monkeypatch.setenv("LAVIE_MODELS", str(net.parent.parent / "models"))
    (net.parent.parent / "models").mkdir(exist_ok=True)
    place = net.parent.parent / "models" / "controlnet"
    if not place.exists():
        place.symlink_to(net.parent)
    hint = video(tmp_path / "one.mkv", 1)
    code, out, error = lavie(
        "generate", "a ball", "-o", tmp_path / "out.mp4", *QUICK, "--control", f"depth:{hint}", "--json"
    )
    assert code == 0, error
    assert json.loads(out)["videos"][0]["metadata"]["controls"][0]["name"] == net.name


def test_a_long_video_follows_a_control_of_its_whole_length(lavie, tmp_path, net):
    hint = video(tmp_path / "maps.mp4", 20)
    extend = ("extend", "a ball", "--frames", 20, "--size", "32x48", "--steps", 1, "--dtype", "float32", "-o")
    made = {}
    for method in ("replacement", "gen_l_video", "conditioned"):
        for name, control in {"plain": (), "with": ("--control", f"{net}:{hint}")}.items():
            code, _, error = lavie(*extend, tmp_path / f"{name}.mkv", "--method", method, *control)
            assert code == 0, error
            made[name] = read_video(tmp_path / f"{name}.mkv").frames.astype(int)
        assert made["with"].shape == made["plain"].shape
        assert np.abs(made["with"] - made["plain"])[-4:].mean() > 0.5, method
    code, _, error = lavie(*extend, tmp_path / "no.mkv", "--control", f"{net}:{video(tmp_path / 'short.mp4', 3)}")
    assert code == 2
    assert "control video has 3 frames, the video 20" in error


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ("depth:{hint}", "There is no ControlNet for depth"),
        ("image:{hint}", "image says no ControlNet"),
        ("nothing.safetensors:{hint}", "there is no ControlNet nothing.safetensors"),
        ("{net}:{hint}:1e9", "strength of control_v11p_sd15_depth.pth must be between"),
        ("{hint}:{hint}", "is not a checkpoint"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_sentence(lavie, tmp_path, net, monkeypatch, control, message):
    monkeypatch.setenv("LAVIE_MODELS", str(tmp_path))
    hint = video(tmp_path / "maps.mp4", 4)
    code, _, error = lavie(
        "generate", "a ball", "-o", tmp_path / "out.mp4", *QUICK, "--control", control.format(net=net, hint=hint)
    )
    assert code in (1, 2)
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_canny_maps_are_made_by_opencv_or_a_sentence_says_how_to_get_it(lavie, tmp_path, net):
    hint = video(tmp_path / "film.mp4", 4)
    code, _, error = lavie("generate", "a ball", "-o", tmp_path / "o.mp4", *QUICK, "--control", f"canny={net}:{hint}")
    try:
        import cv2  # noqa: F401
    except ImportError:
        assert code == 1
        assert "pip install opencv-python-headless" in error
    else:
        assert code == 0, error
