"""A party whose signing key is in a PKCS#11 token: SoftHSM, through a program of its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import psishare
from psishare.audit.verify_log import verify_log_folder
from psishare.client.opened_home import open_log
from psishare.errors import ConfigError
from psishare.parties.home import Home
from psishare.parties.signer_choice import read_signer_choices

PROGRAM = Path(__file__).parent / "pkcs11_signer.py"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "271828"


@dataclass(frozen=True)
class Token:
    """A token with one Ed25519 key, and the file that tells psishare of it."""

    signers: Path
    pin_file: Path


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    tools = [shutil.which(name) for name in ("softhsm2-util", "pkcs11-tool")]
    if None in tools or not MODULE.is_file() or importlib.util.find_spec("pkcs11") is None:
        pytest.skip("SoftHSM or python-pkcs11 is not on this machine; `make interop` installs them")
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    made = ("--init-token", "--free", "--label", "psishare", "--pin", PIN, "--so-pin", "314159")
    subprocess.run([str(tools[0]), *made], check=True, capture_output=True)
    key = ("--keypairgen", "--key-type", "EC:edwards25519", "--label", "log")
    login = ("--module", str(MODULE), "--login", "--pin", PIN, "--token-label", "psishare")
    subprocess.run([str(tools[1]), *login, *key], check=True, capture_output=True)
    pin_file = tmp_path / "pin"
    pin_file.write_text(PIN)
    command = [sys.executable, str(PROGRAM), str(MODULE), "psishare", "log", str(pin_file)]
    signers = tmp_path / "signers.toml"
    signers.write_text(f"[ed25519]\nsigner = 'process'\ncommand = '{json.dumps(command)}'\n")
    return Token(signers, pin_file)


def test_a_log_signed_by_a_token_verifies_and_its_key_is_not_in_the_home(
    token: Token, tmp_path: Path
) -> None:
    home = psishare.init_party(
        tmp_path / "home",
        party_id="tele.example",
        role="platform",
        display_name="Tele",
        signers=read_signer_choices(token.signers),
    )
    psishare.announce_certificate(home)
    verdict = verify_log_folder(home.log_path, Home.open(home.path).card.verifiers())
    assert verdict.head.tree_size == 2
    file = json.loads((home.keys_path / "log_ed25519.json").read_bytes())
    assert file["protection"] == "signer"
    assert "secret" not in file
    assert PIN not in json.dumps(file)


def test_a_token_that_does_not_open_signs_nothing(token: Token, tmp_path: Path) -> None:
    home = psishare.init_party(
        tmp_path / "home",
        party_id="tele.example",
        role="platform",
        display_name="Tele",
        signers=read_signer_choices(token.signers),
    )
    token.pin_file.write_text("000000")
    again = Home.open(home.path)
    with pytest.raises(ConfigError) as caught:
        psishare.announce_certificate(again)
    assert caught.value.reason == "signer_failed"
    assert open_log(again).size == 1
