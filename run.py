"""Run LaVie from a fresh clone with nothing but Python: makes a virtual environment, installs, and starts.

    python run.py generate "a red ball moving left over green grass" -o ball.mp4
    python run.py test

Any other word is a LaVie command, too: see `python run.py --help`. The environment is `.venv` beside this file; set
LAVIE_TORCH to install another torch than the tested one (for example LAVIE_TORCH="torch" for the newest).
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
TORCH = os.environ.get("LAVIE_TORCH", "torch==2.13.0")
HOST = ["numpy>=1.24", "pillow>=9.5"]  # with torch, what ComfyUI has itself: not in requirements.txt
TEST_PACKAGES = ["pytest>=8.2", "pytest-xdist>=3.5", "hypothesis>=6.90", "ruff>=0.6", "pyright>=1.1.400"]
PYTEST = ["-m", "pytest", "-n", "auto", "--dist", "loadfile"]


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 (an older interpreter reads this very line)
        print("run.py: LaVie needs Python 3.10 or newer.", file=sys.stderr)
        return 1
    testing = arguments[:1] == ["test"]
    try:
        python = prepared([TORCH, *HOST, "-r", str(ROOT / "requirements.txt"), *(TEST_PACKAGES if testing else [])])
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"run.py: the installation failed: {error}. Delete {VENV} and try again.", file=sys.stderr)
        return 1
    if testing:
        return subprocess.call([python, *PYTEST, *arguments[1:]], cwd=ROOT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.call([python, "-m", "lavie", *arguments], env=environment)


def prepared(packages: list[str]) -> str:
    """The interpreter of an environment that has the packages; installs only what a changed list asks for."""
    python = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    wanted = "\n".join(packages) + (ROOT / "requirements.txt").read_text()
    stamp = VENV / f"installed-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    if not stamp.exists():
        print(f"Installing LaVie's packages into {VENV} (once) …", file=sys.stderr)
        if not os.path.exists(python):
            venv.create(VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)
        stamp.touch()
    return python


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
