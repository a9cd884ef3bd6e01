"""Changes to files that know the format: JSON of the wrong kind, shapes that lie, instructions that misfit."""

from __future__ import annotations

import io
import json
import pickletools
import struct
import zipfile
from random import Random
from typing import Any

NUMBERS = (0, 1, -1, 2, 7, 255, 256, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64, 10**30, 10**400)
STRINGS = ("", "\x1b[2J", "a" * 5000, "\ud800", "../../etc/passwd", "NaN", ".*" * 50, "(a+)+$", "\0", "0", "é")
ODD = (None, True, False, 0.5, -1e300, 1e-320, [], {}, [[]], [None], {"": None}, *NUMBERS, *STRINGS)


def json_mutant(value: Any, random: Random) -> str:
    """The text of a JSON value with one to three places changed, or with what no JSON has."""
    for _ in range(random.randint(1, 3)):
        value = _changed(value, random)
    text = json.dumps(value)
    kind = random.randrange(12)
    if kind == 0:
        return text[: random.randrange(len(text) + 1)]
    if kind == 1:
        return text.replace(":", random.choice([": NaN, :", ":: ", ': 1e999, "x":']), 1)
    if kind == 2:
        return random.choice(["[", '{"a":']) * random.choice([70, 5000, 100_000])
    return text


def _changed(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(sorted(value))
        changed = dict(value)
        action = random.randrange(6)
        if action == 0:
            del changed[key]
        elif action == 1:
            changed[random.choice(STRINGS)] = changed.pop(key)
        else:
            changed[key] = _changed(value[key], random)
        return changed
    if isinstance(value, list) and value and random.random() < 0.7:
        place = random.randrange(len(value))
        if random.random() < 0.2:
            return value * random.choice([0, 2, 50])
        return [*value[:place], _changed(value[place], random), *value[place + 1 :]]
    if isinstance(value, int) and random.random() < 0.3:
        return value * random.choice([-1, 2, 1000, 10**9])
    return random.choice(ODD)


def bytes_mutant(content: bytes, random: Random) -> bytes:
    """One to four changes: cut off, overwritten with a telling number, repeated, or moved."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(changed) + 1)
        action = random.randrange(6)
        if action == 0 and random.random() < 0.3:
            del changed[place:]
        elif action == 1:
            del changed[place : place + random.choice([1, 4, 64])]
        elif action == 2:
            changed[place:place] = changed[place : place + random.choice([4, 64, 512])] * random.choice([1, 20])
        elif action == 3:
            changed[place:place] = random.randbytes(random.choice([1, 4, 32]))
        else:
            form = random.choice(["<I", ">I", "<H", ">H", "<Q", "B"])
            number = random.choice(NUMBERS[:12]) % (1 << 8 * struct.calcsize(form))
            changed[place : place + struct.calcsize(form)] = struct.pack(form, number)
    return bytes(changed)


def safetensors_mutant(content: bytes, random: Random) -> bytes:
    """The header changed as JSON, the length with it or not; or bytes anywhere."""
    if random.random() < 0.2:
        return bytes_mutant(content, random)
    size = struct.unpack_from("<Q", content)[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = random.choice([key for key in header if key != "__metadata__"])
    action = random.randrange(5)
    if action == 0:
        header[name]["dtype"] = random.choice(["U16", "U64", "C64", "F8_E8M0", "F4", "BOOL", "I8", "F64", "F8_E4M3"])
    elif action == 1:  # another shape of as many bytes
        total = header[name]["data_offsets"][1] - header[name]["data_offsets"][0]
        shapes = ([total // 4], [total // 4, 1, 1, 1, 1], [1, total // 4], [1] * 20 + [total // 4])
        header[name]["shape"] = random.choice(shapes)
    elif action == 2:  # no bytes, and a shape that needs none
        header[random.choice(STRINGS)] = {"dtype": "F32", "shape": [10**9, 0], "data_offsets": [0, 0]}
    elif action == 3:
        header[random.choice([name[:-1], name * 30, "unet." * 60 + name])] = header.pop(name)
    else:
        header = json.loads(json.dumps(header))
        header[name] = _changed(header[name], random)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def torch_mutant(content: bytes, random: Random) -> bytes:
    """The instructions of data.pkl changed, in an archive that is whole."""
    if random.random() < 0.2:
        return bytes_mutant(content, random)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    entries[name] = _pickle_mutant(entries[name], random)
    method = zipfile.ZIP_DEFLATED if random.random() < 0.05 else zipfile.ZIP_STORED
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return target.getvalue()


def _pickle_mutant(program: bytes, random: Random) -> bytes:
    starts = [place for _, _, place in pickletools.genops(program)]
    steps = [program[start:end] for start, end in zip(starts, [*starts[1:], len(program)], strict=True)]
    for _ in range(random.randint(1, 3)):
        place = random.randrange(1, len(steps))
        action = random.randrange(5)
        if action == 0:
            del steps[place]
        elif action == 1:
            steps[place] = random.choice(steps)
        elif action == 2:
            steps.insert(place, random.choice([*steps, b"(", b"0", b"2", b")", b"}", b"R", b"Q", b"h\x00", b"\x81"]))
        elif action == 3:
            number = random.choice(NUMBERS[:12]) & (2**63 - 1)
            steps[place] = b"\x8a\x08" + struct.pack("<q", number)
        else:
            names = (
                b"builtins\nbytearray\n",
                b"posix\nsystem\n",
                b"torch._utils\n_rebuild_qtensor\n",
                b"torch\nuint16\n",
            )
            steps[place] = b"c" + random.choice(names)
    return b"".join(steps)


def text_mutant(text: str, random: Random) -> bytes:
    """Words repeated, numbers and strings of the odd kind put in, in UTF-8 or not."""
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(text) + 1)
        piece = random.choice(
            [str(number) for number in NUMBERS] + [*STRINGS, ":", ",", '"', "\n", ";", "\t", "{", "=" * 99]
        )
        text = text[:place] + piece + text[place + random.choice([0, 0, 1, 5]) :]
    content = text.encode("utf-8", "surrogatepass")
    return content if random.random() < 0.9 else bytes_mutant(content, random)
