"""The settings of commands in ``party.toml``: what is wrong is named with its mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from psishare.errors import ConfigError
from psishare.parties.home import Home
from psishare.parties.settings import SETTINGS, read_settings, what_it_may_be

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    Home.init(path, id="tele.example", role="platform", display_name="Tele")
    return path


def append(home: Path, text: str) -> None:
    with (home / "party.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


def refusal(home: Path, command: str = "serve") -> ConfigError:
    with pytest.raises(ConfigError) as by_command:
        read_settings(home, command)
    with pytest.raises(ConfigError) as by_home:
        Home.open(home)
    assert by_command.value.reason == by_home.value.reason == "settings_invalid"
    return by_command.value


def test_home_without_settings_sets_nothing(home: Path) -> None:
    assert read_settings(home, "serve") == read_settings(home, "match") == {}


def test_settings_of_one_command_are_not_the_other_s(home: Path) -> None:
    append(home, '[serve]\nlisten = "0.0.0.0:7447"\ngrace = 5\n[match]\ntimeout = 7.5')
    assert read_settings(home, "serve") == {"listen": "0.0.0.0:7447", "grace": 5.0}
    assert read_settings(home, "match") == {"timeout": 7.5}
    assert Home.open(home).id == "tele.example"


def test_relative_paths_start_from_the_home(home: Path) -> None:
    append(home, '[match]\ndata = "lists/a.csv"\nout = "-"\nmandate = "/m/case.mandate"')
    assert read_settings(home, "match") == {
        "data": str(home / "lists/a.csv"),
        "out": "-",
        "mandate": "/m/case.mandate",
    }


@pytest.mark.parametrize(
    ("line", "named", "mend"),
    [
        ("idle_timeout = 0", "serve.idle_timeout", "at least 1"),
        ('idle_timeout = "5"', "serve.idle_timeout", "a number of seconds"),
        ('listen = "here"', "serve.listen", "0.0.0.0:7447"),
        ('dataset = "customers"', "serve.dataset", "a list of texts"),
        ("dataset = []", "serve.dataset", "a list of texts"),
        ("max_calls = 1.5", "serve.max_calls", "a whole number"),
        ("no_header = 1", "serve.no_header", "true or false"),
        ('log_format = "xml"', "serve.log_format", '"text" or "json"'),
        ('region = "Germany"', "serve.region", "two letters"),
        ('listn = "0.0.0.0:1"', "serve.listn", "Did you mean listen?"),
        ("nonsense = 1", "serve.nonsense", "psishare serve --help"),
    ],
)
def test_wrong_setting_is_named_with_what_it_may_be(
    home: Path, line: str, named: str, mend: str
) -> None:
    append(home, f"[serve]\n{line}")
    error = refusal(home)
    assert named in error.message
    assert mend in error.mend


def test_settings_that_are_no_table_are_refused(home: Path) -> None:
    append(home, "serve = 1")
    assert "serve is not a table" in refusal(home).message


def test_file_that_is_not_toml_is_named_with_the_place_and_without_its_contents(
    home: Path,
) -> None:
    append(home, "[serve]\nlisten = nobody-must-see-this")
    error = refusal(home)
    assert "at line 7" in error.message
    assert "nobody" not in error.message + error.mend


def test_unknown_table_is_refused(home: Path) -> None:
    append(home, "[sevre]\ngrace = 1")
    with pytest.raises(ConfigError, match="sevre"):
        Home.open(home)


def test_every_setting_says_what_it_may_be() -> None:
    for model in SETTINGS.values():
        for key in model.model_fields:
            assert what_it_may_be(model, key)
