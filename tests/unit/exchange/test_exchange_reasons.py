"""The table of reasons is what the code raises: no code is missing, and none is invented."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import generate_reasons
import pytest
from reason_scan import ROOT, raised

from psishare.errors import (
    AuthorisationError,
    ExitCode,
    PeerError,
    ProtocolError,
    TransportError,
    VerificationError,
)
from psishare.exchange.reasons import (
    ABORTED,
    CLOSE_REFUSALS,
    ENDINGS,
    REASONS,
    REFUSALS,
    REFUSED,
    is_refusal,
    reason_of,
    recorded,
    refusal_class,
)
from psishare.transport.fault import CLASSES, REASON

if TYPE_CHECKING:
    from pathlib import Path

TABLE = {(reason.code, reason.error.__name__) for reason in REASONS}
# What a peer's error becomes whose reason is not readable (transport/fault.py).
DEFAULTS = {(kind.default_reason, name) for name, kind in CLASSES.items()}


def test_every_reason_that_is_raised_is_in_the_table_with_its_class() -> None:
    found = raised()
    assert found.unclear == []
    assert sorted((found.pairs | DEFAULTS) - TABLE) == []


def test_every_row_of_the_table_is_raised_somewhere() -> None:
    assert sorted(TABLE - raised().pairs - DEFAULTS) == []


def test_no_reason_stands_twice_under_one_class() -> None:
    assert len(TABLE) == len(REASONS)


def test_reasons_are_words_that_cross_the_wire_and_sentences_are_sentences() -> None:
    for reason in REASONS:
        assert REASON.fullmatch(reason.code)
        assert reason.sentence.endswith(".")
        assert reason.sentence[0].isupper()


def test_exit_codes_are_those_of_the_classes() -> None:
    codes = {reason.error: reason.exit_code for reason in REASONS}
    assert codes[AuthorisationError] is ExitCode.REFUSED
    assert codes[TransportError] is codes[PeerError] is ExitCode.PEER
    assert codes[ProtocolError] is ExitCode.PROTOCOL
    assert codes[VerificationError] is ExitCode.AUDIT


def test_what_refuses_an_offer_is_of_a_class_that_does() -> None:
    for reason in REASONS:
        if REFUSED in reason.entries:
            assert issubclass(reason.error, REFUSALS)
            assert refusal_class(reason.code) is reason.error


def test_what_refuses_a_closing_may_abort_an_exchange() -> None:
    rows = {reason.code: reason for reason in REASONS if reason.error is ProtocolError}
    assert all(ABORTED in rows[code].entries for code in CLOSE_REFUSALS)


def test_reasons_that_only_logs_hold_are_written_somewhere() -> None:
    texts = {
        node.value
        for path in (ROOT / "psishare" / "exchange").glob("*.py")
        if path.name != "reasons.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert texts >= ENDINGS.keys()
    assert not ENDINGS.keys() & {reason.code for reason in REASONS}


def test_an_error_is_looked_up_by_code_and_class() -> None:
    refused = AuthorisationError("no", mend="no", reason="mandate_expired")
    row = reason_of(refused)
    assert row is not None
    assert (row.code, row.error) == ("mandate_expired", AuthorisationError)
    assert is_refusal(refused)
    assert not is_refusal(ProtocolError("no", mend="no", reason="frame_malformed"))


@pytest.mark.parametrize("reason", ["made_up", "_", "mandate_expired"])
def test_a_reason_that_is_not_the_classs_own_is_recorded_as_the_classs_default(reason: str) -> None:
    error = ProtocolError("no", mend="no", reason=reason)
    assert recorded(error) == "protocol_violated"


def test_the_documentations_page_is_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate_reasons.main(["--check"]) == 0
    monkeypatch.setattr(generate_reasons, "PAGE", tmp_path / "reasons.md")
    assert generate_reasons.main(["--check"]) == 1
    assert "not current" in capsys.readouterr().err
    assert generate_reasons.main([]) == 0
    assert generate_reasons.main(["--check"]) == 0


def test_a_reason_that_is_raised_in_any_of_its_forms_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "psishare").mkdir()
    (tmp_path / "protocols/bindings/src").mkdir(parents=True)
    (tmp_path / "protocols/bindings/src/fault.rs").write_text('"InputError" Some("by_rust")')
    (tmp_path / "psishare/example.py").write_text(
        'WORD = "by_constant"\n'
        "def one(): raise ConfigError('x', mend='y', reason='plain')\n"
        "def two(reason): raise InputError('x', mend='y', reason=reason)\n"
        "def three(): two('by_argument'); two(reason='by_keyword')\n"
        "def four(what): raise InputError('x', mend='y', reason=f'{what}_joined')\n"
        "def five(): four('left'); four('right')\n"
        "def six(b): raise AuditError('x', mend='y', reason='yes' if b else 'no')\n"
        "def seven(): raise AuditError('x', mend='y', reason=WORD)\n"
        "def eight(): raise AuditError('x', mend='y')\n"
        "def nine(e): raise AuditError('x', mend='y', reason=e.what)\n"
        "def ten(*, reason='by_default'): raise PeerError('x', mend='y', reason=reason)\n"
        "def eleven(): ten()\n"
        "def twelve(): write_durably(1, error=ConfigError, reason='written')\n"
    )
    monkeypatch.setattr("reason_scan.ROOT", tmp_path)
    found = raised()
    assert found.pairs == {
        ("plain", "ConfigError"),
        ("by_argument", "InputError"),
        ("by_keyword", "InputError"),
        ("left_joined", "InputError"),
        ("right_joined", "InputError"),
        ("yes", "AuditError"),
        ("no", "AuditError"),
        ("by_constant", "AuditError"),
        ("audit_failed", "AuditError"),
        ("by_default", "PeerError"),
        ("written", "ConfigError"),
        ("by_rust", "ProtocolError"),
        ("input_invalid", "InputError"),
    }
    assert len(found.unclear) == 1
    assert "e.what" in found.unclear[0]
