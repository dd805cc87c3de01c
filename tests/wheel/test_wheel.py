"""The wheel is whole, and works where there is no Rust and no checkout.

It is built as ``make wheel`` builds it. Dependencies are lent by this environment, so that nothing is
fetched; psishare itself comes from the wheel alone.
"""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "psishare"
BUILD_TIMEOUT_S = 600.0
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Installed:
    """A fresh virtual environment with the wheel in it.

    Attributes:
        folder: an empty folder to work in, outside of the checkout.
        bin: the environment's programs, and the whole of the ``PATH``.
    """

    folder: Path
    bin: Path

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.folder,
            env={"PATH": str(self.bin), "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel; what cargo has compiled already it does not compile again."""
    out = tmp_path_factory.mktemp("dist")
    maturin = Path(sys.executable).parent / "maturin"
    subprocess.run(
        [maturin, "build", "--quiet", "--release", "--locked", "-i", sys.executable, "--out", out],
        cwd=ROOT,
        timeout=BUILD_TIMEOUT_S,
        check=True,
    )
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("elsewhere")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"),
            *("install", "--quiet", "--no-index", "--no-deps", wheel),
        ],
        check=True,
    )
    [packages] = venv.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, and the .pth files in it are not read: the checkout stays out.
    (packages / "lent.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    work = folder / "work"
    work.mkdir()
    return Installed(work, venv / "bin")


def test_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    package = {name for name in names if name.startswith("psishare/")}
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in {".so", ".pyc"}
    }
    assert package == sources | {"psishare/_native.abi3.so"}
    rest = {PurePosixPath(name).parts[0] for name in names - package}
    assert rest == {wheel.name.rsplit("-cp", 1)[0] + ".dist-info"}


def test_wheel_holds_data_types_and_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"psishare/py.typed", "psishare/_native.pyi", "psishare/parties/words.txt"} <= names
    vectors = {PurePosixPath(name).stem for name in names if "/identifiers/vectors/" in name}
    assert {"phone", "email", "ipv4", "ipv6", "domain", "account"} <= vectors
    licences = {name.rsplit("/", 1)[1] for name in names if "/licenses/" in name}
    assert {"LICENSE", "NOTICE"} <= licences


def test_wheel_is_for_every_python_from_3_11_on(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def test_installed_wheel_runs_an_exchange_without_rust_or_checkout(installed: Installed) -> None:
    assert shutil.which("cargo", path=str(installed.bin)) is None
    where = "import psishare, psishare._native as native; print(psishare.__file__, native.__file__)"
    inside = installed.run("python", "-c", where).split()
    assert all(Path(path).is_relative_to(installed.bin.parent) for path in inside)
    told = json.loads(installed.run("psishare", "demo", "--rows", "1000", "--json"))
    assert told["ok"]
    assert told["matching_rows"] > 0
    assert installed.run("psishare", "--version").startswith("psishare ")
