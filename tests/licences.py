"""Check the licence of every Python and Rust dependency against the list of those allowed.

Apache-2.0 is the project's own. The LGPL is allowed only for packages that NOTICE names, which are
installed separately and unmodified.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}
# Free-text licences and classifiers as packages write them, in SPDX terms.
SPELLINGS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "unlicense": "Unlicense",
}
LGPL = re.compile(r"LGPL|Lesser General Public", re.IGNORECASE)


def is_allowed(expression: str) -> bool:
    """Tell whether an SPDX expression can be met by allowed licences alone."""
    text = expression.replace("/", " OR ")
    alternatives = re.split(r"\s+OR\s+", text.replace("(", " ").replace(")", " ").strip())
    return any(
        all(part.strip() in ALLOWED for part in re.split(r"\s+AND\s+", alternative))
        for alternative in alternatives
    )


def python_licence(package: importlib.metadata.Distribution) -> str:
    """Return a package's licence in SPDX terms, as far as it tells."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return str(metadata["License-Expression"])
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    free_text = str(metadata["License"]).strip() if "License" in metadata else ""
    for text in [*classifiers, *free_text.splitlines()[:1]]:
        return SPELLINGS.get(str(text).lower(), str(text))
    return "unknown"


def python_faults(notice: str) -> Iterator[str]:
    """Yield a line for each installed Python package whose licence is not allowed."""
    for package in importlib.metadata.distributions():
        name = package.metadata["Name"]
        if name.lower() in {"psishare", "pip", "setuptools", "wheel"}:
            continue
        licence = python_licence(package)
        if LGPL.search(licence):
            if name not in notice:
                yield f"{name}: {licence}, not named in NOTICE"
        elif not is_allowed(licence):
            yield f"{name}: {licence}"


def rust_faults() -> Iterator[str]:
    """Yield a line for each Rust crate whose licence is not allowed."""
    result = subprocess.run(
        [
            "cargo",
            "metadata",
            "--format-version=1",
            "--locked",
            "--manifest-path",
            str(ROOT / "protocols" / "Cargo.toml"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    for package in json.loads(result.stdout)["packages"]:
        licence = package["license"] or "unknown"
        if not is_allowed(licence):
            yield f"{package['name']} (Rust): {licence}"


def main() -> None:
    """Print what is not allowed and fail if there is any."""
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    faults = [*python_faults(notice), *rust_faults()]
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    print("every dependency's licence is allowed")


if __name__ == "__main__":
    main()
