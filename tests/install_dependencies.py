"""Install what pyproject.toml names at the versions of constraints.txt.

Run-time and development; with names of extras as arguments, theirs alone.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Hand every requirement to this interpreter's pip."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    requirements = [requirement for extra in sys.argv[1:] for requirement in extras[extra]] or [
        *pyproject["build-system"]["requires"],
        *project["dependencies"],
        *extras["dev"],
    ]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraint = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraint, *requirements], check=True)


if __name__ == "__main__":
    main()
