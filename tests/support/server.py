"""A ComfyUI server of its own: the pack as it ships, in a throwaway base directory, on the CPU, on a free port."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.checkout import DEVICE
from support.pack import ROOT

NAME = "ComfyUI-LaVie"
ALONE = (
    "--disable-auto-launch",
    "--disable-api-nodes",
    "--database-url",
    "sqlite:///:memory:",
    "--preview-method",
    "auto",
)

Json = dict[str, Any]


class Server:
    """What a page asks of the server."""

    def __init__(self, base: Path, port: int, process: int) -> None:
        self.base, self.process = base, process
        self.pack = base / "custom_nodes" / NAME
        self.log = base / "server.log"
        self._address = f"http://127.0.0.1:{port}"

    def memory(self, most: bool = True) -> int:
        """The most memory that the server has had, in kB, or what it has now; on Linux."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.split("VmHWM:" if most else "VmRSS:")[1].split()[0])

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self._address + urllib.parse.quote(path), timeout=30) as answer:
            return answer.read()

    def json(self, path: str) -> Json:
        return json.loads(self.get(path))

    def post(self, path: str, content: Json) -> Json:
        """The answer; of a refused prompt, what is wrong with it."""
        body = json.dumps(content).encode()
        request = urllib.request.Request(self._address + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def start(self, prompt: Json) -> str:
        """Queue a prompt."""
        answer = self.post("/prompt", {"prompt": prompt})
        assert "prompt_id" in answer, answer
        return answer["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = 600) -> Run:
        """For the end of a prompt."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            entry = self.json(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry.get("status"):
                return Run(entry, self.base / "output")
            time.sleep(0.2)
        raise TimeoutError(f"no end after {seconds} s")

    def run(self, prompt: Json, seconds: float = 600) -> Run:
        return self.wait(self.start(prompt), seconds)


class Run:
    """How a prompt ended."""

    def __init__(self, entry: Json, output: Path) -> None:
        self.messages = dict(entry["status"]["messages"])
        self.succeeded = entry["status"]["status_str"] == "success"
        self.cached = set(self.messages.get("execution_cached", {}).get("nodes", ()))
        self.error: Json = self.messages.get("execution_error", {})
        saved = [file for node in entry["outputs"].values() for files in node.values() for file in files]
        places = [file for file in saved if isinstance(file, dict) and file.get("type") == "output"]
        self.files = sorted(output / file["subfolder"] / file["filename"] for file in places)


def shipped() -> list[str]:
    """What the registry's zip holds: the files that git knows, or would, without those in .comfyignore."""

    def listed(*options: str) -> set[str]:
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *options]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return set(found.split("\0")) - {""}

    ignored = listed("--ignored", "--exclude-from=.comfyignore")
    return sorted(file for file in listed() - ignored if (ROOT / file).is_file())


@contextlib.contextmanager
def serving(comfyui: Path, python: str, base: Path) -> Iterator[Server]:
    """A server with a copy of the pack; it is gone afterwards."""
    for folder in ("custom_nodes", "models", "input", "output", "temp", "user/default"):
        (base / folder).mkdir(parents=True)
    for file in shipped():
        place = base / "custom_nodes" / NAME / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, place)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    device = ["--cpu"] if DEVICE == "cpu" else []
    command = [python, "main.py", *device, "--port", str(port), "--base-directory", str(base), *ALONE]
    with (base / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=comfyui, stdout=log, stderr=subprocess.STDOUT)
        server = Server(base, port, process.pid)
        try:
            _wait_until_up(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_up(server: Server, process: subprocess.Popen, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            server.get("/system_stats")
            return
        time.sleep(0.5)
    raise AssertionError(f"ComfyUI did not start:\n{server.log.read_text()[-4000:]}")
