"""The environment of SecretFlow's package, and of what draws the plot: apart from psishare's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent
CACHE = ROOT / ".cache"
REQUIREMENTS = ROOT / "requirements.txt"


def peer_python() -> Path | None:
    """Return the interpreter of the peers' environment, made on first use; None where it cannot be.

    The package has wheels for few versions of Python. Where there is none for this one, the page says
    that this peer was left out.
    """
    folder = CACHE / f"peers-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    installed = folder / "installed"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return python
    print("installing the peers' packages", file=sys.stderr)
    CACHE.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)]
    if subprocess.run(install, check=False).returncode:
        print("the peers' packages do not install here; SecretFlow is left out", file=sys.stderr)
        return None
    installed.write_text(wanted, encoding="utf-8")
    return python
