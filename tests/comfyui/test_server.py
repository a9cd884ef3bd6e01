"""The workflows that come with the pack, in a running ComfyUI server; what needs no browser."""

import json
import re
import time
import urllib.error

import numpy as np
import pytest
from PIL import Image
from support.blueprint import OUTSIDE, read, unpacked
from support.checkout import COMFYUI, NEEDS_COMFYUI, PYTHON
from support.images import alike_neighbours
from support.pack import ROOT, load_pack
from support.server import NAME, serving
from support.workflow import to_prompt

from lavie.video import read_video

pytestmark = NEEDS_COMFYUI
WORKFLOWS = {path.stem: path for path in sorted((ROOT / "workflows").glob("*.json"))}
CASCADE = ROOT / "subgraphs" / "LaVie Full Cascade.json"
# Of the film that each saves: frames, height, width, frames a second. Two clips side by side have 4 pixels between.
FILMS = {
    "Core KSampler": (16, 64, 96 + 4 + 96, 8),
    "Full cascade": (61, 256, 384, 30.5),
    "Image to video": (16, 64, 96, 8),
    "Image to video by the extension stage": (31, 64, 96, 8),
    "LoRA": (16, 64, 96 + 4 + 96, 8),
    "Long video with three prompts": (40, 64, 96, 8),
    "Text to video": (16, 64, 96, 8),
    "Prompts over time": (48, 64, 96, 8),
    "Train a LoRA": (16, 64, 96, 8),
    "Transition": (24, 64, 96, 8),
    "Two nodes": (61, 256, 384, 30.5),
    "Upscale and interpolate a video": (61, 256, 384, 30.5),
}
# What would take long is cut short.
SHORT = {"Train a LoRA": {"LaVieLoraTrainer.steps": 3, "LaVieLoraTrainer.prior_images": 2}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(COMFYUI, PYTHON, tmp_path_factory.mktemp("comfyui")) as running:
        yield running


@pytest.fixture(scope="module")
def prompt_of(server):
    """A workflow as a prompt, with widgets set: {"LaVieBaseSampler.steps": 2} for every node of that class."""
    object_info = server.json("/object_info")

    def prompt(name, **widgets):
        prompt = to_prompt(json.loads(WORKFLOWS[name].read_text(encoding="utf-8")), object_info)
        for key, value in widgets.items():
            node, widget = key.split(".")
            for each in prompt.values():
                if each["class_type"] == node:
                    each["inputs"][widget] = value
        return prompt

    return prompt


def nodes_of(prompt, class_type):
    return {number for number, node in prompt.items() if node["class_type"] == class_type}


def files_of(folder):
    return {str(path): path.stat().st_size for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_every_node_is_served_with_its_help(server):
    object_info = server.json("/object_info")
    for name in load_pack().NODE_CLASS_MAPPINGS:
        assert object_info[name]["python_module"] == f"custom_nodes.{NAME}"
        page = server.get(f"/extensions/{NAME}/docs/{name}.md").decode()
        assert len(page) > 100


def test_i18n_every_node_is_served_in_the_languages_of_the_page(server):
    served = server.json("/i18n")
    for language in ("en", "zh", "ja", "ko"):
        file = ROOT / "locales" / language / "nodeDefs.json"
        ours = json.loads(file.read_text(encoding="utf-8"))
        assert {name: served[language]["nodeDefs"][name] for name in ours} == ours
    assert set(load_pack().NODE_CLASS_MAPPINGS) <= set(served["zh"]["nodeDefs"])
    page = server.get(f"/extensions/{NAME}/docs/LaVieBaseSampler/zh.md").decode()
    assert page.startswith(f"# {served['zh']['nodeDefs']['LaVieBaseSampler']['display_name']}\n")
    assert served["zh"]["nodeDefs"]["LaVieBaseSampler"]["inputs"]["steps"]["name"] == "步数"
    assert served["en"]["nodeDefs"]["LaVieBaseSampler"]["inputs"]["guidance_scale"]["name"] == "cfg"


def test_the_pack_is_imported_within_two_seconds(server):
    (seconds,) = re.findall(rf"([\d.]+) seconds: .*{NAME}", server.log.read_text())
    print(f"imported in {seconds} s")
    assert float(seconds) <= 2


def test_the_workflows_are_templates_with_an_image(server):
    assert set(server.json("/workflow_templates")[NAME]) == set(WORKFLOWS)
    for name in WORKFLOWS:
        assert server.get(f"/api/workflow_templates/{NAME}/{name}.jpg")[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_saves_its_film_and_is_cached(server, prompt_of, name):
    prompt, before = prompt_of(name, **SHORT.get(name, {})), files_of(server.pack)
    first = server.run(prompt)
    assert first.succeeded, first.error
    (film,) = map(read_video, first.files)
    assert (*film.frames.shape[:3], film.fps) == FILMS[name]
    assert alike_neighbours(film.frames) > 0.5
    again = server.run(prompt)
    assert again.succeeded
    assert again.cached == set(prompt)
    assert files_of(server.pack) == before


def test_the_same_seed_gives_the_same_frames_after_everything_was_freed(server, prompt_of):
    """Lossless files are compared: SaveVideo's own encoder is not always the same from run to run."""
    prompt = prompt_of("Text to video")
    (decoder,) = nodes_of(prompt, "LaVieVAEDecode")
    prompt["png"] = {"class_type": "SaveImage", "inputs": {"images": [decoder, 0], "filename_prefix": "frame"}}
    frames = []
    for _ in range(2):
        run = server.run(prompt)
        frames.append([np.asarray(Image.open(path)) for path in run.files if path.suffix == ".png"])
        server.post("/free", {"unload_models": True, "free_memory": True})
        time.sleep(2)
    assert len(frames[0]) == 16
    assert np.array_equal(*frames)


def test_a_knob_of_a_later_stage_leaves_the_earlier_ones_cached(server, prompt_of):
    small = {"LaVieBaseSampler.num_frames": 2, "LaVieBaseSampler.steps": 2, "LaVieTemporalInterpolator.steps": 1}
    assert server.run(prompt_of("Full cascade", **small)).succeeded
    turned = prompt_of("Full cascade", **small, **{"LaVieVideoUpscaler.noise_level": 25})
    run = server.run(turned)
    assert run.succeeded
    assert nodes_of(turned, "LaVieBaseSampler") | nodes_of(turned, "LaVieTemporalInterpolator") <= run.cached
    assert not nodes_of(turned, "LaVieVideoUpscaler") & run.cached


def test_interrupt_stops_a_run_and_the_next_one_succeeds(server, prompt_of):
    before = files_of(server.base / "output")
    started = server.start(prompt_of("Text to video", **{"LaVieBaseSampler.steps": 900}))
    time.sleep(3)
    began = time.monotonic()
    server.post("/interrupt", {})
    run = server.wait(started, 30)
    assert time.monotonic() - began < 5
    assert "execution_interrupted" in run.messages
    assert files_of(server.base / "output") == before
    assert server.run(prompt_of("Text to video", **{"LaVieBaseSampler.steps": 2})).succeeded


def test_interrupt_stops_text_to_video_within_a_step_and_the_next_run_succeeds(server, prompt_of):
    large = {"length": 64, "width": 512, "height": 512, "steps": 1000, "stages": "base"}
    started = server.start(prompt_of("Two nodes", **{f"LaVieTextToVideo.{name}": to for name, to in large.items()}))
    time.sleep(8)
    began = time.monotonic()
    server.post("/interrupt", {})
    assert "execution_interrupted" in server.wait(started, 30).messages
    assert time.monotonic() - began < 5
    small = {"length": 2, "steps": 1, "stages": "base"}
    assert server.run(
        prompt_of("Two nodes", **{f"LaVieTextToVideo.{name}": to for name, to in small.items()})
    ).succeeded


@pytest.mark.parametrize(
    ("widget", "value", "message"),
    [
        ("LaVieBaseSampler.steps", 0, "steps must be between 1 and 1000"),
        ("LaVieBaseSampler.width", 20, "divisible by 8"),
        ("LaVieTextEncode.prompt", " ", "prompt is empty"),
        ("LaVieLoader.stage", "upscaler", "upscaler stage"),
        ("LaVieLoader.model", "lavie", "released weights are not here"),
    ],
)
def test_a_wrong_input_is_answered_with_a_sentence_and_the_server_lives(server, prompt_of, widget, value, message):
    run = server.run(prompt_of("Text to video", **{widget: value}))
    assert not run.succeeded
    assert message in run.error["exception_message"]
    assert run.error["exception_type"].split(".")[-1] in ("UsageError", "LavieError")
    assert server.run(prompt_of("Text to video", **{"LaVieBaseSampler.steps": 2})).succeeded


@pytest.mark.parametrize("name", ["lavie/../../secret.safetensors", "lavie//etc/passwd", "lavie/gone.safetensors"])
def test_a_file_that_is_not_in_the_list_is_refused_before_the_run(server, prompt_of, name):
    answer = server.post("/prompt", {"prompt": prompt_of("Text to video", **{"LaVieLoader.model": name})})
    (errors,) = [error["errors"] for error in answer["node_errors"].values()]
    assert errors[0]["type"] == "value_not_in_list"


def test_a_model_file_appears_in_the_list_and_a_broken_one_is_named(server, prompt_of):
    folder = server.base / "models" / "lavie"
    folder.mkdir(exist_ok=True)
    (folder / "broken.safetensors").write_text("not a model")
    choices = server.json("/object_info/LaVieLoader")["LaVieLoader"]["input"]["required"]["model"][0]
    assert "lavie/broken.safetensors" in choices
    run = server.run(prompt_of("Text to video", **{"LaVieLoader.model": "lavie/broken.safetensors"}))
    assert "broken.safetensors" in run.error["exception_message"]


def test_nothing_of_the_pack_is_in_the_log_as_an_error_of_its_own(server):
    """Runs last: whatever was raised above was raised on purpose."""
    log = server.log.read_text()
    assert "IMPORT FAILED" not in log
    raised = set(re.findall(r"^(?:\w+\.)*(\w*(?:Error|Exception)): ", log, re.MULTILINE))
    assert raised <= {"UsageError", "LavieError", "InterruptProcessingException"}


def test_the_blueprint_of_the_cascade_is_served_and_makes_a_video(server):
    try:
        served = server.json("/global_subgraphs")
    except urllib.error.HTTPError:
        pytest.skip("this ComfyUI has no blueprints (before 0.3.67)")
    (number,) = (key for key, entry in served.items() if entry["info"]["node_pack"] == f"custom_nodes.{NAME}")
    assert served[number]["name"] == CASCADE.stem
    node, subgraph = read(CASCADE)
    assert json.loads(server.json(f"/global_subgraphs/{number}")["data"])["nodes"] == [node]
    prompt = to_prompt(unpacked(subgraph), server.json("/object_info"))
    last = next(link for link in subgraph["links"] if link["target_id"] == OUTSIDE)
    wire = [str(last["origin_id"]), last["origin_slot"]]
    save = {"video": wire, "filename_prefix": "cascade", "format": "auto", "codec": "auto", "format.codec": "auto"}
    prompt["save"] = {"class_type": "SaveVideo", "inputs": save}
    for each in nodes_of(prompt, "LaVieTemporalInterpolator") | nodes_of(prompt, "LaVieVideoUpscaler"):
        prompt[each]["inputs"]["steps"] = 1
    run = server.run(prompt)
    assert run.succeeded, run.error
    (film,) = map(read_video, run.files)
    assert (*film.frames.shape[:3], film.fps) == FILMS["Full cascade"]
