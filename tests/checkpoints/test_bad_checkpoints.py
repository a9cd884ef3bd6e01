"""Files that are no checkpoint, or a bad one: refused in one sentence that names the file, never half loaded."""

import contextlib
import os
import warnings
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from support.checkpoint_files import refusal, rewrite, small, write_base_file

from lavie.checkpoints import describe, read_state_dict, save_unet
from lavie.errors import LavieError


@pytest.fixture
def base_file(tmp_path):
    return write_base_file(tmp_path)


def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    path = tmp_path / "evil.pt"
    for old_format in (False, True):
        content = {"ema": small().state_dict(), "args": Attack()}
        torch.save(content, path, _use_new_zipfile_serialization=not old_format)
        assert "posix.mkdir" in refusal(path) or "nt.mkdir" in refusal(path)
    assert not (tmp_path / "pwned").exists()


def test_a_torchscript_program_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "program.pt")
    assert "a TorchScript program, not weights" in refusal(tmp_path / "program.pt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello there, not a model", "it is a text file"),
        (b"<!DOCTYPE html><html>...", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "neither safetensors nor a PyTorch file"),
        (b"PK\x03\x04" + bytes(100), "is truncated or damaged"),
        (b"\x80\x02}q\x00.", "is truncated or damaged"),
        (b"\x80\x02junk", "is truncated or damaged"),
        (b"\x05\x00\x00\x00\x00\x00\x00\x00{oops", "is truncated or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_seems_to_be(tmp_path, content, says):
    path = tmp_path / "lavie_base.pt"
    path.write_bytes(content)
    assert says in refusal(path)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_called_truncated(base_file, suffix, kept):
    path = base_file if suffix == "pt" else save_unet(small(), base_file.with_suffix(".safetensors"))
    os.truncate(path, int(path.stat().st_size * kept))
    assert "truncated or damaged" in refusal(path)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_damage_anywhere_is_survived_or_told_in_a_sentence(tmp_path, suffix):
    tensors, path = {"a.weight": torch.ones(3, 2), "b": torch.zeros(4)}, tmp_path / f"x.{suffix}"
    torch.save({"ema": tensors}, path) if suffix == "pt" else save_file(tensors, path)
    whole, random = path.read_bytes(), Random(0)
    for _ in range(150):
        damaged = bytearray(whole[: random.choice([len(whole), random.randrange(len(whole))])])
        for _ in range(random.randrange(4) if damaged else 0):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(LavieError):
            read_state_dict(path)
            describe(path)


def test_a_file_without_named_weights_is_told(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    assert "without named weights" in refusal(tmp_path / "list.pt")


def test_a_missing_file_and_a_folder_without_weights_are_named(tmp_path):
    assert "There is no checkpoint" in refusal(tmp_path / "nothing.pt")
    (tmp_path / "empty").mkdir()
    assert "holds no weights" in refusal(tmp_path / "empty")


def test_another_stage_than_asked_for_is_named_with_what_was_expected(base_file):
    message = refusal(base_file, stage="upscaler")
    assert message == "base.pt seems to be a LaVie base UNet, but a LaVie upscaler UNet is needed here."


def test_missing_unexpected_and_misshapen_tensors_are_counted_and_the_first_ones_named(base_file):
    def spoil(ema):
        for name in [name for name in ema if "attn1.to_q" in name]:
            del ema[name]
        ema["extra.weight"] = torch.zeros(1)
        ema["conv_out.bias"] = torch.zeros(7)

    rewrite(base_file, spoil)
    message = refusal(base_file)
    assert "seems to be a LaVie base UNet" in message
    assert "4 missing (down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight" in message
    assert "1 unexpected (extra.weight)" in message
    assert "1 of another shape (conv_out.bias [7] instead of [4])" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(base_file, value):
    rewrite(base_file, lambda ema: ema["mid_block.resnets.0.conv1.weight"][0, 5].fill_(value))
    assert "mid_block.resnets.0.conv1.weight holds NaN or infinite values" in refusal(base_file)


def test_other_rotary_frequencies_than_those_that_the_unet_computes_are_refused(base_file):
    name = "mid_block.attentions.0.transformer_blocks.0.attn_temp.rotary_emb.freqs"
    rewrite(base_file, lambda ema: ema.update({name: ema[name] * 1.01}))
    assert "other rotary frequencies" in refusal(base_file)


def test_quantised_weights_are_refused(base_file):
    name = "mid_block.resnets.0.conv1.weight"
    rewrite(base_file, lambda ema: ema.update({name: ema[name].to(torch.int8)}))
    assert f"is quantised ({name} is torch.int8)" in refusal(base_file)
