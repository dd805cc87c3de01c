"""Key files and locks of any content are read as what they are, or refused in words, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.errors import ConfigError
from psishare.keys import canonical
from psishare.keys.key_file import ClearKey, EncryptedKey, KeyElsewhere, parse_key_file
from psishare.keys.lock import HomeKey
from psishare.keys.signer_process import SignerProcess
from psishare.parties.signer_choice import read_signer_choices

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = Path("key.json")
HOME_KEY = HomeKey(bytes(32))
FIELDS = ["version", "algorithm", "created", "protection", "secret", "salt", "signer", "settings"]
algorithms = st.sampled_from(["ed25519", "ml-dsa-44", "mlkem768-x25519", "ecdsa-p256"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), texts, st.just("none"), st.just("lock")
)
documents = st.dictionaries(st.sampled_from(FIELDS), values)


def reason(act: Callable[[], object]) -> str | None:
    """Return the reason with which something is refused, or None where it is not."""
    try:
        act()
    except ConfigError as error:
        return error.reason
    return None


@given(st.binary(min_size=1, max_size=5000), algorithms)
def test_a_secret_of_any_length_comes_back_from_its_file_and_from_no_other_home(
    secret: bytes, algorithm: str
) -> None:
    clear = parse_key_file(PATH, ClearKey.of(algorithm, secret).to_bytes(), algorithm=algorithm)
    assert isinstance(clear, ClearKey)
    assert clear.plain() == secret
    data = EncryptedKey.of(algorithm, secret, HOME_KEY).to_bytes()
    sealed = parse_key_file(PATH, data, algorithm=algorithm)
    assert isinstance(sealed, EncryptedKey)
    assert sealed.decrypt(HOME_KEY) == secret
    with pytest.raises(ValueError, match="does not open"):
        sealed.decrypt(HomeKey(b"\x01" * 32))


@given(st.one_of(st.binary(max_size=300), documents.map(lambda d: json.dumps(d).encode())))
def test_other_bytes_are_refused_and_raise_nothing_else(data: bytes) -> None:
    assert reason(lambda: parse_key_file(PATH, data, algorithm=None)) == "key_file_malformed"


@given(algorithms, texts, st.dictionaries(texts, texts))
def test_a_signer_s_file_is_what_was_written(
    algorithm: str, name: str, told: dict[str, str]
) -> None:
    data = KeyElsewhere.of(algorithm, name, told, bytes(32)).to_bytes()
    found = parse_key_file(PATH, data, algorithm=algorithm)
    assert isinstance(found, KeyElsewhere)
    assert (found.signer, found.settings) == (name, told)


@given(st.dictionaries(st.sampled_from(["command", "more"]), texts))
def test_settings_that_are_no_command_start_no_program(told: dict[str, str]) -> None:
    assert reason(lambda: SignerProcess.open("ed25519", told)) == "signer_failed"


@given(st.one_of(st.binary(max_size=200), texts.map(str.encode)))
def test_a_file_of_signers_of_any_bytes_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "signers.toml"
    path.write_bytes(data)
    assert reason(lambda: read_signer_choices(path)) == "signers_invalid"


@pytest.mark.parametrize(
    ("version", "protection"), [(1, "lock"), (2, "none"), (3, "lock"), ("2", "lock"), ([2], "lock")]
)
def test_the_forms_are_told_apart_by_version_and_protection(
    version: object, protection: str
) -> None:
    data = EncryptedKey.of("ed25519", b"s", HOME_KEY).to_bytes()
    fields = canonical.loads(data, max_bytes=9_999, what="it")
    other = canonical.dumps(fields | {"version": version, "protection": protection})
    assert reason(lambda: parse_key_file(PATH, other, algorithm=None)) == "key_file_malformed"
