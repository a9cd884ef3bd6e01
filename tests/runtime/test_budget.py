"""A limit of memory is kept by exact means first; what changes the image comes last, and is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavie.config import RELEASED_STAGES
from lavie.errors import UsageError
from lavie.models import UNetConfig
from lavie.runtime.budget import fitted, in_words
from lavie.runtime.estimate import Execution, Weights, Workload, stage_bytes
from lavie.runtime.free_memory import free, memory_limit, taken
from lavie.stages import STAGES

GB = 10**9
CPU = torch.device("cpu")
BASE, INTERPOLATION, UPSCALER = (RELEASED_STAGES[stage] for stage in ("base", "interpolation", "upscaler"))
UPSCALER_UNET = UNetConfig(in_channels=7, block_out_channels=(256, 512, 512, 1024), cross_attention_dim=1024,
    num_class_embeds=1000, temporal_convolutions=True)  # fmt: skip
# The released networks at their own sizes, float16 on a GPU.
AT_BASE = Workload(
    STAGES["base"],
    UNetConfig(),
    Weights(1_900_000_000, 520_000_000, 335_000_000, 246_000_000),
    batch=1,
    frames=16,
    height=40,
    width=64,
    itemsize=2,
    scale=8,
    vae_width=128,
    encodes=False,
    device="cuda",
)
AT_INTERPOLATION = replace(AT_BASE, stage=STAGES["interpolation"], frames=61, encodes=True)
AT_UPSCALER = replace(
    AT_BASE,
    stage=STAGES["upscaler"],
    unet=UPSCALER_UNET,
    weights=Weights(2_000_000_000, 500_000_000, 221_000_000, 680_000_000),
    frames=61,
    height=320,
    width=512,
    scale=4,
)
CASES = [(AT_BASE, BASE), (AT_INTERPOLATION, INTERPOLATION), (AT_UPSCALER, UPSCALER)]


def plans(work, config, offloads=True):
    """The plans as the limit falls, to the last one that works."""
    limit, found = 200 * GB, []
    while True:
        try:
            plan = fitted(work, config, limit, offloads)
        except UsageError:
            return found
        found.append(plan)
        limit = plan.bytes - 1


def captioned_image(plan):
    """What of a plan changes the image."""
    return plan.config.window, plan.config.tile, plan.vae_tile


@pytest.mark.parametrize(("work", "config"), CASES)
def test_exact_means_come_before_those_that_change_the_image(work, config):
    found = plans(work, config)
    first = found[0]
    assert (first.config, first.execution.sequential_guidance, first.execution.sliced) == (config, False, False)
    assert first.notes == ()
    changed = [captioned_image(plan) != (config.window, config.tile, config.tile) for plan in found]
    assert changed == sorted(changed)
    assert [plan for plan, is_changed in zip(found, changed, strict=True) if plan.execution.sliced and not is_changed]
    for plan, is_changed in zip(found, changed, strict=True):
        assert is_changed == any("changes the result" in note for note in plan.notes)


@pytest.mark.parametrize(("work", "config"), CASES)
@pytest.mark.parametrize("offloads", [True, False])
def test_every_plan_keeps_to_its_limit_and_the_refusal_names_what_would_do(work, config, offloads):
    found = plans(work, config, offloads)
    assert all(plan.bytes <= plan.limit for plan in found)
    assert all(offloads or plan.execution.offload == "none" for plan in found)
    with pytest.raises(UsageError, match=in_words(found[-1].bytes)):
        fitted(work, config, found[-1].bytes - 1, offloads)


def test_the_whole_released_cascade_keeps_to_8_gb():
    base, interpolation, upscaler = (fitted(*case, 8 * GB, offloads=True) for case in CASES)
    assert base.notes == ("The VAE sees one frame at a time.",)
    assert captioned_image(interpolation) == (INTERPOLATION.window, 0, 0)
    assert upscaler.execution.sliced


@given(
    in_turn=st.booleans(),
    window=st.integers(1, 61),
    tile=st.integers(32, 600),
    vae_tile=st.integers(32, 600),
    offload=st.sampled_from(["none", "parts", "blocks"]),
)
def test_no_means_takes_more_than_going_without_it(in_turn, window, tile, vae_tile, offload):
    with_it = Execution(True, in_turn, True, offload, 1, vae_tile, window, tile)
    for without in (
        replace(with_it, sequential_guidance=False),
        replace(with_it, sliced=False),
        replace(with_it, offload="none"),
        replace(with_it, vae_frames=0),
        replace(with_it, vae_tile=0),
        replace(with_it, window=0),
        replace(with_it, tile=0),
    ):
        assert stage_bytes(AT_UPSCALER, with_it) <= stage_bytes(AT_UPSCALER, without)


@pytest.mark.parametrize(
    ("text", "expected"), [("8GB", 8 * GB), ("8", 8 * GB), (" 0.5 gb", GB // 2), ("512MiB", 2**29), ("4G", 4 * GB)]
)
def test_amounts_are_read_as_people_write_them(text, expected):
    assert memory_limit(text, CPU) == expected


@pytest.mark.parametrize("text", ["", "much", "-1", "0", "8KB", "1e3", "8GB RAM"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(UsageError, match="no amount of memory"):
        memory_limit(text, CPU)


def test_auto_is_what_is_free_and_what_is_taken_already():
    block = np.ones(2**25)
    assert taken(CPU) > block.nbytes
    assert taken(CPU) < memory_limit("auto", CPU)
    assert 0 < free(CPU) < 2**50
