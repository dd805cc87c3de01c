"""Build the documents as a site, the reference from the docstrings: ``make docs``.

Every tracked Markdown document is laid out as it lies in the repository, so that its links lead where
they lead there. A warning fails the build.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "docs"


def main() -> None:
    """Lay the documents out and hand them to mkdocs."""
    pages = BUILD / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    for document in _documents():
        copy = pages / document
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / document, copy)
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", ROOT / "mkdocs.yml"],
        check=True,
        cwd=ROOT,
    )
    print(f"The documents are in {(BUILD / 'site' / 'index.html').relative_to(ROOT)}.")  # noqa: T201


def _documents() -> list[str]:
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.md",
            "docs/*.png",
            "docs/*.svg",
        ],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return listed.stdout.splitlines()


if __name__ == "__main__":
    main()
