"""Keys that are elsewhere: a program and an entry point sign, and neither is trusted to do it right."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from psishare.errors import ConfigError
from psishare.keys import signer_process
from psishare.keys.external_signer import ExternalSigner
from psishare.keys.passphrase import Passphrase, given
from psishare.keys.signer import Algorithm, verify_ed25519, verify_ml_dsa_44
from psishare.keys.signer_process import SignerProcess
from psishare.keys.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(__file__).parents[2] / "signer_program.py"
VERIFY = {"ed25519": verify_ed25519, "ml-dsa-44": verify_ml_dsa_44}


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    path = tmp_path / "seed"
    path.write_bytes(secrets.token_bytes(32))
    return path


def settings(seed: Path, fault: str = "") -> dict[str, str]:
    return {
        "command": json.dumps([sys.executable, str(PROGRAM), str(seed), *filter(None, [fault])])
    }


def failure(caught: pytest.ExceptionInfo[ConfigError]) -> str:
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ["ed25519", "ml-dsa-44"])
def test_a_program_signs_and_the_signature_verifies(seed: Path, algorithm: Algorithm) -> None:
    signer = ExternalSigner.load("process", settings(seed), algorithm=algorithm)
    for message in (b"", b"message", bytes(100_000)):
        VERIFY[algorithm](signer.public_key, message, signer.sign(message))


@pytest.mark.parametrize("fault", ["wrong", "short", "long", "refuse", "die"])
def test_a_program_that_misbehaves_signs_nothing(seed: Path, fault: str) -> None:
    signer = ExternalSigner.load("process", settings(seed, fault), algorithm="ed25519")
    with pytest.raises(ConfigError) as caught:
        signer.sign(b"message")
    assert failure(caught) == "signer_failed"


def test_a_program_that_is_silent_is_not_waited_for_for_ever_and_is_ended(
    seed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = SignerProcess.open("ed25519", settings(seed, "hang"))
    monkeypatch.setattr(signer_process, "ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(signer_process, "END_TIMEOUT_S", 0.1)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            signer.sign(b"message")
        assert failure(caught) == "signer_failed"


def test_a_program_with_another_key_than_the_party_s_is_refused(seed: Path) -> None:
    known = SignerProcess.open("ed25519", settings(seed)).public_key
    with pytest.raises(ConfigError) as caught:
        ExternalSigner.load(
            "process", settings(seed, "other"), algorithm="ed25519", public_key=known
        )
    assert failure(caught) == "signer_failed"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"command": "psishare-signer"},
        {"command": "[]"},
        {"command": "[1]"},
        {"command": '["/no/such/program"]'},
        {"command": '["true"]', "pin": "1234"},
    ],
)
def test_settings_that_name_no_program_are_refused(wrong: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        ExternalSigner.load("process", wrong, algorithm="ed25519")
    assert failure(caught) == "signer_failed"
    assert "1234" not in caught.value.diagnostics()


def test_no_message_is_longer_than_the_protocol_allows(seed: Path) -> None:
    signer = SignerProcess.open("ed25519", settings(seed))
    with pytest.raises(ConfigError):
        signer.sign(bytes(signer_process.MAX_MESSAGE_BYTES + 1))
    assert len(signer.sign(b"still there")) == 64


PACKAGE = """
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

class Token:
    algorithm = "ed25519"

    def __init__(self, algorithm, settings):
        if settings.get("slot") != "1":
            raise LookupError("no such slot: PIN 1234")
        self._key = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message):
        if message == b"fail":
            raise OSError("the token is gone: PIN 1234")
        return self._key.sign(message)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that offers two signers, of which one cannot be loaded."""
    (tmp_path / "some_token.py").write_text(PACKAGE)
    info = tmp_path / "some_token-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-token\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[psishare.signers]\nsome-token = some_token:Token\nbroken = some_token:Missing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "some_token", raising=False)


@pytest.mark.usefixtures("package")
def test_an_installed_package_offers_a_signer() -> None:
    signer = ExternalSigner.load("some-token", {"slot": "1"}, algorithm="ed25519")
    verify_ed25519(signer.public_key, b"message", signer.sign(b"message"))
    assert "slot" not in repr(signer)


@pytest.mark.usefixtures("package")
def test_what_a_package_raises_is_its_failure_and_is_not_repeated() -> None:
    signer = ExternalSigner.load("some-token", {"slot": "1"}, algorithm="ed25519")
    for act in (
        lambda: signer.sign(b"fail"),
        lambda: ExternalSigner.load("some-token", {"slot": "2"}, algorithm="ed25519"),
        lambda: ExternalSigner.load("some-token", {"slot": "1"}, algorithm="ml-dsa-44"),
        lambda: ExternalSigner.load("broken", {}, algorithm="ed25519"),
    ):
        with pytest.raises(ConfigError) as caught:
            act()
        assert failure(caught) == "signer_failed"
        assert "1234" not in caught.value.diagnostics()


def test_a_signer_that_nobody_offers_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        ExternalSigner.load("nowhere", {}, algorithm="ed25519")
    assert failure(caught) == "signer_unknown"


def test_a_vault_remembers_the_signer_and_holds_no_secret(tmp_path: Path, seed: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    vault = Vault.create(folder, Passphrase("correct horse battery staple"))
    path = folder / "log.json"
    made = vault.entrust(path, algorithm="ed25519", signer="process", settings=settings(seed))
    again = Vault(folder, given(None)).signer(path, algorithm="ed25519")
    verify_ed25519(made.public_key, b"message", again.sign(b"message"))
    with pytest.raises(ConfigError) as caught:
        Vault(folder, given(None)).read(path, algorithm="ed25519")
    assert failure(caught) == "key_file_malformed"
