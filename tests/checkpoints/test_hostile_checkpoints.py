"""Files made to do harm: nothing runs, nothing waits, and no more memory is taken than the file itself has."""

import os
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from lavie.bounded import MAX_NAME
from lavie.checkpoints import describe, read_state_dict
from lavie.errors import LavieError


def refusal(path) -> str:
    with pytest.raises(LavieError) as caught:
        read_state_dict(path)
    assert len(str(caught.value)) < 400
    return str(caught.value)


class Call:
    """Pickled as a call that the reader is to make."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def repacked(path, method=zipfile.ZIP_STORED, change=lambda name, data: data):
    """The archive at `path` written anew."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, change(name, data))
    return path


def header(path, text: bytes, data: bytes = b""):
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize("older", [False, True], ids=["archive", "older form"])
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path, older):
    view = Call(torch._utils._rebuild_tensor_v2, torch.ones(4)._typed_storage(), 0, (1 << 33,), (1,), False, {})
    torch.save({"a": view}, tmp_path / "a.pt", _use_new_zipfile_serialization=not older)
    assert "larger than what is stored of it" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("older", [False, True], ids=["archive", "older form"])
def test_a_tensor_that_repeats_one_number_for_ever_is_refused(tmp_path, older):
    torch.save({"a": torch.ones(1).expand(1 << 33)}, tmp_path / "a.pt", _use_new_zipfile_serialization=not older)
    assert "larger than what is stored of it" in refusal(tmp_path / "a.pt")


def test_many_tensors_of_the_same_numbers_are_refused(tmp_path):
    numbers = torch.ones(50_000)
    torch.save({f"a{index}": numbers for index in range(100)}, tmp_path / "a.pt")
    assert "many times as large as the file" in refusal(tmp_path / "a.pt")


def test_compressed_entries_are_refused(tmp_path):
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "a.pt")
    assert "is compressed" in refusal(repacked(tmp_path / "a.pt", zipfile.ZIP_DEFLATED))


def test_bytes_that_a_pickle_asks_for_are_not_made(tmp_path):
    torch.save({"a": torch.ones(2), "b": Call(bytearray, 1 << 36)}, tmp_path / "a.pt")
    assert list(read_state_dict(tmp_path / "a.pt")) == ["a"]


@pytest.mark.parametrize("function", [eval, os.system, torch.hub.load, pickle.loads], ids=lambda each: each.__name__)
def test_what_could_run_code_is_named(tmp_path, function):
    torch.save({"a": torch.ones(2), "b": Call(function, "x")}, tmp_path / "a.pt")
    assert f".{function.__name__}, which a pickle may use to run code" in refusal(tmp_path / "a.pt")


def test_a_key_that_takes_forever_to_hash_is_refused(tmp_path):
    torch.save({"a": torch.ones(2), "deep": 0}, tmp_path / "a.pt")
    twice = b")" + b"q\xf0" + b"h\xf0h\xf0\x86q\xf0" * 64  # ((…, …), (…, …)), 64 times
    key = pickle.dumps("deep", 2)[2:-1].split(b"q")[0]
    repacked(
        tmp_path / "a.pt",
        change=lambda name, data: data.replace(key, twice, 1) if name.endswith("data.pkl") else data,
    )
    assert "keys within keys" in refusal(tmp_path / "a.pt")


def test_a_pickle_of_millions_of_steps_is_refused(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"\x80\x02" + b"N0" * 600_000 + b"N.")
    assert "too long" in refusal(tmp_path / "a.pt")


def test_an_archive_that_holds_a_file_twice_is_refused(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
            archive.writestr(name.upper(), data)  # the same to torch
    assert "twice" in refusal(tmp_path / "a.pt")


def test_hundreds_of_thousands_of_empty_tensors_are_refused(tmp_path):
    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    text = "{" + ",".join(entry % number for number in range(30_000)) + "}"
    assert "holds 30000 tensors" in refusal(header(tmp_path / "a.safetensors", text.encode()))
    long = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = "{" + f'"{"unet." * MAX_NAME}":{long}'.replace("'", '"') + "}"
    assert "the name of a tensor" in refusal(header(tmp_path / "a.safetensors", text.encode()))
    assert "in so many bytes" in refusal(header(tmp_path / "a.safetensors", b"{" + b" " * (9 << 20) + b"}"))


@pytest.mark.parametrize(("form", "bytes_"), [("U16", 2), ("U64", 8), ("C64", 8), ("F8_E8M0", 1)])
def test_number_formats_that_no_model_has_are_refused(tmp_path, form, bytes_):
    text = f'{{"a":{{"dtype":"{form}","shape":[1],"data_offsets":[0,{bytes_}]}}}}'.encode()
    assert form in refusal(header(tmp_path / "a.safetensors", text, bytes(bytes_))) or bytes_ == 1
    with pytest.raises(LavieError):
        describe(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "special",
    [
        torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8),
        torch.eye(3).to_sparse(),
        torch.ones(2, device="meta"),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, dtype=torch.uint16),
    ],
    ids=["quantised", "sparse", "meta", "complex", "unsigned"],
)
def test_special_tensors_are_refused_by_name(tmp_path, special):
    torch.save({"first.weight": torch.ones(2), "odd.weight": special}, tmp_path / "a.pt")
    assert "odd.weight" in refusal(tmp_path / "a.pt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.pt")
    assert "no regular file" in refusal(tmp_path / "a.pt")
    (tmp_path / "b.safetensors").symlink_to("/dev/zero")
    assert "no regular file" in refusal(tmp_path / "b.safetensors")


@pytest.mark.parametrize("older", [False, True], ids=["archive", "older form"])
def test_what_torch_saves_is_read_bit_for_bit(tmp_path, older):
    whole = torch.arange(24.0).reshape(4, 6)
    saved = {"whole": whole, "view": whole[1:, ::2].T, "scalar": torch.tensor(3), "empty": torch.zeros(0, 4)}
    saved |= {"half": torch.ones(3).half(), "learnt": torch.nn.Parameter(torch.ones(2)), "flag": torch.tensor([True])}
    saved |= {"eight": torch.ones(2).to(torch.float8_e4m3fn), "brain": torch.ones(2).bfloat16()}
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=not older)
    found = read_state_dict(tmp_path / "a.pt")
    assert list(found) == list(saved)
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name].float(), tensor.detach().float()), name


def test_a_checkpoint_of_a_training_program_is_read_around_what_lies_beside_the_weights(tmp_path):
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "step": 2**70, "names": {1, 2}}
    torch.save(content, tmp_path / "a.pt")
    assert torch.equal(read_state_dict(tmp_path / "a.pt")["weight"], network.weight)


def test_a_file_written_to_while_it_was_read_changes_nothing_on_disk(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    read_state_dict(tmp_path / "a.pt")["a"].add_(1)
    assert (tmp_path / "a.pt").read_bytes() == before


def test_safetensors_with_a_header_that_lies_are_refused(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole.replace(b"[0,8]", b"[0,9]"))
    assert "damaged" in refusal(tmp_path / "a.safetensors")
