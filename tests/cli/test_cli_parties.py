"""``party``, ``peer`` and ``mandate``: who one is, whom one knows, and what allows an exchange."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_stage import AUTHORITY, ISSUER, PLATFORM, PROGRAM, VALIDATOR, Office, Ran, psi

from psishare.audit.entry import parse_entry
from psishare.audit.log import Log
from psishare.client.opened_home import open_log
from psishare.errors import AuditError
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.envelope import read_envelope
from psishare.parties.card import parse_card
from psishare.parties.home import Home
from psishare.parties.peers import Peers
from psishare.parties.signer_choice import ALGORITHMS

SIGNER_PROGRAM = Path(__file__).parents[1] / "signer_program.py"
CASE = "Js 4711/26"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


def init(home: Path, *more: str, party: str = "new.example", role: str = "platform") -> Ran:
    named = ("--id", party, "--role", role, "--name", "N")
    return psi("party", "init", "--home", home, *named, "--no-passphrase", *more)


def entries(home: Home) -> list[str]:
    log = open_log(home)
    return [parse_entry(data).type for data in log.entries(0, log.size)]


# party


def test_init_makes_a_home_and_shows_twelve_words(tmp_path: Path) -> None:
    ran = init(tmp_path / "home")
    assert ran.code == 0
    card = Home.open(tmp_path / "home").card
    assert all(word in ran.out.split() for word in card.fingerprint().split("-"))


def test_init_in_json_is_what_show_shows(tmp_path: Path) -> None:
    made = init(tmp_path / "home", "--json").document
    shown = psi("party", "show", "--home", tmp_path / "home", "--json").document
    assert made == shown
    assert (made["id"], made["role"], made["log_size"]) == ("new.example", "platform", 1)
    assert len(made["fingerprint"].split("-")) == 12
    assert made["certificates"][0]["not_after"] > made["certificates"][0]["not_before"]


def test_an_issuer_keeps_no_log(tmp_path: Path) -> None:
    assert init(tmp_path / "home", "--json", role="issuer").document["log_size"] is None
    assert "none" in psi("party", "show", "--home", tmp_path / "home").out


def test_init_never_touches_a_home_that_is_there(tmp_path: Path) -> None:
    first = init(tmp_path / "home", "--json").document
    again = init(tmp_path / "home", "--json")
    assert (again.code, again.reason) == (3, "home_exists")
    assert psi("party", "show", "--home", tmp_path / "home", "--json").document == first


def test_init_refuses_an_unknown_role_as_misuse(tmp_path: Path) -> None:
    assert init(tmp_path / "home", role="spy").code == 2
    assert not (tmp_path / "home").exists()


def test_export_writes_the_exact_card_to_standard_output_and_to_a_file(
    office: Office, tmp_path: Path
) -> None:
    home, path = office.homes[PLATFORM], tmp_path / "tele.card"
    ran = psi("party", "export", "--home", home.path)
    assert ran.out.encode() == home.export_card()
    assert psi("party", "export", path, "--home", home.path).code == 0
    assert parse_card(path.read_bytes()).id == PLATFORM


def test_export_overwrites_only_when_asked(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "tele.card"
    path.write_text("mine", encoding="utf-8")
    ran = psi("party", "export", path, "--home", office.home(PLATFORM), "--json")
    assert (ran.code, ran.reason, path.read_text(encoding="utf-8")) == (4, "output_exists", "mine")
    again = psi("party", "export", path, "--home", office.home(PLATFORM), "--overwrite", "--json")
    assert again.document["card"] == str(path)


# peer


def test_adding_and_removing_a_peer_is_in_the_log(office: Office, tmp_path: Path) -> None:
    init(tmp_path / "home")
    home = Home.open(tmp_path / "home")
    words = office.homes[ISSUER].card.fingerprint().replace("-", " ").upper()
    card = office.card(ISSUER)
    added = psi(
        *("peer", "add", card, "--home", home.path, "--fingerprint", words),
        *("--trust", "validator", "--trust", "issuer", "--json"),
    )
    assert added.document["trusted_as"] == ["issuer", "validator"]
    listed = psi("peer", "list", "--home", home.path, "--json").document["peers"]
    assert [peer["id"] for peer in listed] == [ISSUER]
    assert ISSUER in psi("peer", "list", "--home", home.path).out
    removed = psi("peer", "remove", ISSUER, "--home", home.path, "--json")
    assert removed.document == {"removed": ISSUER}
    assert psi("peer", "list", "--home", home.path, "--json").document["peers"] == []
    assert entries(home) == ["log.created", "peer.added", "peer.removed"]


def test_a_party_without_a_log_can_pin_too(office: Office, tmp_path: Path) -> None:
    init(tmp_path / "home", role="auditor")
    words = office.homes[PLATFORM].card.fingerprint()
    ran = psi(
        *("peer", "add", office.card(PLATFORM), "--home", tmp_path / "home"),
        *("--fingerprint", words),
    )
    assert (ran.code, ran.out.split()[0]) == (0, PLATFORM)


def test_the_fingerprint_of_another_key_is_refused(office: Office, tmp_path: Path) -> None:
    init(tmp_path / "home")
    ran = psi(
        *("peer", "add", office.card(ISSUER), "--home", tmp_path / "home", "--json"),
        *("--fingerprint", office.homes[VALIDATOR].card.fingerprint()),
    )
    assert (ran.code, ran.reason) == (3, "fingerprint_mismatch")
    assert len(Peers(tmp_path / "home" / "peers")) == 0
    assert entries(Home.open(tmp_path / "home")) == ["log.created"]


def test_without_a_terminal_the_fingerprint_must_be_stated(office: Office, tmp_path: Path) -> None:
    init(tmp_path / "home")
    ran = psi("peer", "add", office.card(ISSUER), "--home", tmp_path / "home", "--json")
    assert (ran.code, ran.reason) == (3, "fingerprint_missing")
    # Nor does the message tell what it would have to be: it must come from the card's owner.
    words = office.homes[ISSUER].card.fingerprint().split("-")
    assert not all(word in ran.out for word in words)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 3)])
def test_on_a_terminal_the_words_are_shown_and_compared(
    office: Office, tmp_path: Path, answer: str, code: int
) -> None:
    init(tmp_path / "home")
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "peer", "add", str(office.card(ISSUER)), "--home", str(tmp_path / "home")]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        shown = read_to_end(ours)
        assert process.wait(60) == code
    assert all(word in shown.split() for word in office.homes[ISSUER].card.fingerprint().split("-"))
    assert len(Peers(tmp_path / "home" / "peers")) == (code == 0)


def read_to_end(terminal: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        if not part:
            os.close(terminal)
            return b"".join(parts).decode()
        parts.append(part)


# mandate


def drafting(office: Office, path: Path, *more: str) -> Ran:
    until = datetime.now(UTC) + timedelta(days=30)
    return psi(
        *("mandate", "draft", path, "--home", office.home(ISSUER), "--validator", VALIDATOR),
        *("--authority", AUTHORITY, "--platform", PLATFORM, "--kind", "phone"),
        *("--max-rows", "500", "--max-exchanges", "3", "--not-after", f"{until:%Y-%m-%d}"),
        *("--jurisdiction", "XX", "--legal-basis", "section 100", "--purpose", "suspects"),
        *(more or ("--case", CASE)),
    )


def sign(office: Office, path: Path, party: str, *more: str | Path) -> Ran:
    return psi("mandate", "sign", path, "--home", office.home(party), *more)


def test_a_mandate_is_drafted_signed_twice_and_verified(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "case.mandate"
    assert drafting(office, path).code == 0
    assert "1 of 2" in sign(office, path, ISSUER).out
    assert "2 of 2" in sign(office, path, VALIDATOR).out
    ran = psi("mandate", "verify", path, "--home", office.home(PLATFORM), "--json")
    assert ran.code == 0
    mandate = ran.document["mandate"]
    assert (mandate["issuer"], mandate["validator"]) == (ISSUER, VALIDATOR)
    assert (mandate["max_rows_per_exchange"], mandate["max_rows_total"]) == (500, 1500)
    assert mandate["protocols"] == ["ecdh", "openmined", "oprf"]
    assert mandate["not_after"].endswith("T23:59:59Z")
    assert "valid now" in psi("mandate", "verify", path, "--home", office.home(PLATFORM)).out


@pytest.mark.parametrize("way", ["option", "file"])
def test_the_case_reference_stays_sealed_at_home(office: Office, tmp_path: Path, way: str) -> None:
    path, reference = tmp_path / "case.mandate", tmp_path / "case.txt"
    reference.write_text(f"{CASE}\n", encoding="utf-8")
    more = ("--case", CASE) if way == "option" else ("--case-file", str(reference))
    ran = drafting(office, path, *more, "--json")
    assert CASE not in ran.out + path.read_text(encoding="utf-8")
    mandate = read_envelope(path.read_bytes()).mandate
    home = office.homes[ISSUER]
    sealed = (home.mandates_path / f"{mandate.id}.case").read_bytes()
    commitment = bytes.fromhex(mandate.case_commitment)
    opened = CaseReference.open(sealed, home.sealing_key(), commitment=commitment)
    assert opened.reference == CASE


def test_a_case_needs_exactly_one_reference(office: Office, tmp_path: Path) -> None:
    assert drafting(office, tmp_path / "m", "--standing").code == 2
    assert drafting(office, tmp_path / "m", "--case", "a", "--case-file", "b").code == 2
    assert list(tmp_path.iterdir()) == []


def test_times_are_days_or_seconds_of_utc(office: Office, tmp_path: Path) -> None:
    more = ("--case", CASE, "--not-before", "2026-01-02", "--not-after", "2099-01-01T00:00:00Z")
    mandate = drafting(office, tmp_path / "m", *more, "--json").document["mandate"]
    assert mandate["not_before"] == "2026-01-02T00:00:00Z"
    assert mandate["not_after"] == "2099-01-01T00:00:00Z"
    ran = drafting(office, tmp_path / "n", "--case", CASE, "--not-after", "tomorrow")
    assert ran.code == 2


def test_a_draft_that_contradicts_itself_ends_with_4(office: Office, tmp_path: Path) -> None:
    ran = drafting(office, tmp_path / "m", "--case", CASE, "--validator", ISSUER, "--json")
    assert (ran.code, ran.reason) == (4, "mandate_invalid")
    assert list(tmp_path.iterdir()) == []


def test_an_attachment_and_a_courts_key_are_bound(office: Office, tmp_path: Path) -> None:
    order = tmp_path / "order.pdf"
    order.write_bytes(b"order")
    more = ("--case", CASE, "--attachment", str(order), "--court-card", str(office.card(VALIDATOR)))
    mandate = drafting(office, tmp_path / "m", *more, "--json").document["mandate"]
    assert mandate["attachment_sha256"] == hashlib.sha256(b"order").hexdigest()
    assert mandate["court_sealing_key"] == office.homes[VALIDATOR].card.sealing_key


def test_show_counts_signatures_and_needs_no_home(office: Office) -> None:
    path = office.mandate("shown.mandate")
    assert "2 of 2" in psi("mandate", "show", path).out
    assert len(psi("mandate", "show", path, "--json").document["signatures"]) == 2


def test_sign_elsewhere_leaves_the_file_as_it_was(office: Office, tmp_path: Path) -> None:
    path, signed = tmp_path / "case.mandate", tmp_path / "signed.mandate"
    drafting(office, path)
    before = path.read_bytes()
    ran = sign(office, path, ISSUER, "--out", signed, "--json")
    assert (path.read_bytes(), ran.document["file"]) == (before, str(signed))
    assert len(read_envelope(signed.read_bytes()).key_ids) == 1


def test_a_party_that_the_mandate_does_not_name_cannot_sign(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "case.mandate"
    drafting(office, path)
    ran = sign(office, path, PLATFORM, "--json")
    assert (ran.code, ran.reason) == (5, "mandate_signer_not_named")


def test_a_mandate_with_one_signature_does_not_verify(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "case.mandate"
    drafting(office, path)
    sign(office, path, ISSUER)
    ran = psi("mandate", "verify", path, "--home", office.home(PLATFORM), "--json")
    assert (ran.code, ran.reason) == (5, "mandate_unsigned")


def test_an_expired_mandate_does_not_verify(office: Office) -> None:
    now = datetime.now(UTC)
    path = office.mandate("expired.mandate", not_after=now - timedelta(hours=1))
    ran = psi("mandate", "verify", path, "--home", office.home(PLATFORM), "--json")
    assert (ran.code, ran.reason) == (5, "mandate_expired")


def test_a_home_that_trusts_nobody_verifies_nothing(office: Office) -> None:
    path = office.mandate("untrusted.mandate")
    ran = psi("mandate", "verify", path, "--home", office.home(AUTHORITY), "--json")
    assert (ran.code, ran.reason) == (5, "mandate_issuer_untrusted")


def test_a_changed_mandate_does_not_verify(office: Office, tmp_path: Path) -> None:
    envelope = json.loads(office.mandate("whole.mandate").read_bytes())
    envelope["signatures"][0]["sig"] = envelope["signatures"][1]["sig"]
    path = tmp_path / "changed.mandate"
    path.write_text(json.dumps(envelope), encoding="utf-8")
    assert psi("mandate", "verify", path, "--home", office.home(PLATFORM)).code == 5


def test_a_draft_over_another_file_seals_no_reference(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "case.mandate"
    path.write_text("mine", encoding="utf-8")
    sealed = set(office.homes[ISSUER].mandates_path.iterdir())
    ran = drafting(office, path, "--case", CASE, "--json")
    assert (ran.code, ran.reason) == (4, "output_exists")
    assert path.read_text(encoding="utf-8") == "mine"
    assert set(office.homes[ISSUER].mandates_path.iterdir()) == sealed


# signers


def test_a_party_whose_log_keys_are_in_another_program_signs_a_log_that_verifies(
    office: Office, tmp_path: Path
) -> None:
    seed, signers = tmp_path / "seed", tmp_path / "signers.toml"
    seed.write_bytes(bytes(range(32)))
    program = json.dumps([sys.executable, str(SIGNER_PROGRAM), str(seed)])
    tables = (f"[{name}]\nsigner = 'process'\ncommand = '{program}'\n" for name in ALGORITHMS)
    signers.write_text("".join(tables), encoding="utf-8")
    home = tmp_path / "home"
    made = init(home, "--signers", str(signers), "--json")
    assert made.code == 0, made.out
    ran = psi(
        *("peer", "add", office.card(ISSUER), "--home", home),
        *("--fingerprint", office.homes[ISSUER].card.fingerprint()),
    )
    assert ran.code == 0
    for name in ("log_ed25519", "log_ml_dsa_44"):
        assert "secret" not in json.loads((home / "keys" / f"{name}.json").read_bytes())
    assert psi("party", "export", tmp_path / "new.card", "--home", home).code == 0
    verified = psi("audit", "verify", home / "log", "--trust", tmp_path / "new.card", "--json")
    assert verified.code == 0, verified.out
    seed.unlink()
    card = office.card(VALIDATOR)
    words = office.homes[VALIDATOR].card.fingerprint()
    failed = psi("peer", "add", card, "--home", home, "--fingerprint", words, "--json")
    assert (failed.code, failed.reason) == (3, "signer_failed")
    assert [peer.id for peer in Peers(home / "peers")] == [ISSUER]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[rsa]\nsigner = 'x'\n",
        "[ed25519]\n",
        "[ed25519]\nsigner = 'x'\nslot = 1\n",
        "ed25519 = 1",
    ],
)
def test_a_file_of_signers_that_is_none_makes_no_party(tmp_path: Path, text: str) -> None:
    signers = tmp_path / "signers.toml"
    signers.write_text(text, encoding="utf-8")
    ran = init(tmp_path / "home", "--signers", str(signers), "--json")
    assert (ran.code, ran.reason) == (3, "signers_invalid")
    assert not (tmp_path / "home").exists()


# renewing and revoking


def test_a_renewed_card_is_taken_in_a_pipe_and_keeps_pin_and_trust(
    office: Office, tmp_path: Path
) -> None:
    init(tmp_path / "one", party="one.example", role="issuer")
    init(tmp_path / "two", party="two.example")
    home, card = tmp_path / "one", tmp_path / "one.card"
    pin = ("peer", "add", card, "--home", tmp_path / "two", "--json")
    first = psi("party", "show", "--home", home, "--json").document
    psi("party", "export", card, "--home", home)
    added = psi(*pin, "--fingerprint", first["fingerprint"], "--trust", "issuer").document
    for step in ((), ("--switch",), ("--sealing-key",)):
        renewed = psi("party", "renew", "--home", home, *step, "--json").document
        assert renewed["fingerprint"] == first["fingerprint"]
        psi("party", "export", card, "--home", home, "--overwrite")
        taken = psi(*pin)
        assert taken.code == 0, taken.out
        assert taken.document["serial"] == renewed["serial"] > added["serial"]
        assert taken.document["trusted_as"] == ["issuer"]
        added = taken.document
    assert renewed["certificates"][0]["sha256"] != first["certificates"][0]["sha256"]
    said = psi("party", "renew", "--home", home).out
    assert "serial 5" in said
    assert said.endswith("Once all peers have the card: psishare party renew --switch\n")
    again = psi("party", "renew", "--home", home, "--json")
    assert (again.code, again.reason) == (3, "renewal_pending")
    psi("party", "export", card, "--home", home, "--overwrite")
    replaced = "Card serial 5 replaces serial 4; the same fingerprint."
    assert replaced in psi(*pin[:-1]).out
    assert replaced not in psi(*pin[:-1]).out
    switched = psi("party", "renew", "--home", home, "--switch").out
    assert "until it gets SIGHUP or is started again" in switched
    assert "Once all peers" not in switched
    assert psi("party", "renew", "--home", home, "--switch", "--sealing-key").code == 2


def test_certificates_that_expire_soon_are_told_of(office: Office, tmp_path: Path) -> None:
    home = Home.init(
        tmp_path / "home", id="short.example", role="issuer", display_name="S", certificate_days=30
    )
    shown = psi("party", "show", "--home", home.path)
    assert "warning: the certificate of short.example expires on" in shown.err
    assert psi("party", "show", "--home", home.path, "--json").document["warnings"] != []
    init(tmp_path / "two", party="two.example")
    card = tmp_path / "short.card"
    card.write_bytes(home.export_card())
    words = ("--fingerprint", home.card.fingerprint())
    psi("peer", "add", card, "--home", tmp_path / "two", *words)
    listed = psi("peer", "list", "--home", tmp_path / "two")
    assert "ask for its newer card" in listed.err
    assert "certificate until" in listed.out


def test_a_revoked_peer_stays_out_until_a_person_means_it(office: Office, tmp_path: Path) -> None:
    init(tmp_path / "home")
    home, card = tmp_path / "home", office.card(ISSUER)
    add = ("peer", "add", card, "--home", home, "--json")
    words = ("--fingerprint", office.homes[ISSUER].card.fingerprint())
    psi(*add, *words, "--trust", "issuer")
    assert psi("peer", "revoke", ISSUER, "--home", home, "--json").document["revoked"] == ISSUER
    assert "revoked" in psi("peer", "list", "--home", home).out
    for ran in (psi(*add, *words), psi("peer", "remove", ISSUER, "--home", home, "--json")):
        assert (ran.code, ran.reason) == (3, "peer_revoked")
    listed = psi("peer", "list", "--home", home, "--json").document
    assert (listed["peers"], [gone["id"] for gone in listed["revoked"]]) == ([], [ISSUER])
    back = psi(*add, *words, "--reinstate")
    assert (back.code, back.document["trusted_as"]) == (0, [])
    assert entries(Home.open(home)) == ["log.created", "peer.added", "peer.revoked", "peer.added"]


def test_a_pin_that_cannot_be_logged_leaves_everything_as_it_was(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(tmp_path / "home")
    home = tmp_path / "home"
    add = ("peer", "add", office.card(ISSUER), "--home", home, "--json")
    words = ("--fingerprint", office.homes[ISSUER].card.fingerprint())
    psi(*add, *words, "--trust", "issuer")

    def full(*_: object) -> None:
        raise AuditError("full", mend="free space", reason="log_write_failed")

    monkeypatch.setattr(Log, "append", full)
    assert psi(*add, *words, "--trust", "validator").reason == "log_write_failed"
    (peer,) = Peers(home / "peers")
    assert peer.trusted_as == {"issuer"}
    ran = psi("peer", "add", office.card(VALIDATOR), "--home", home, "--json")
    assert ran.reason == "fingerprint_missing"


def test_a_successor_is_taken_on_the_word_of_the_pinned_party(
    office: Office, tmp_path: Path
) -> None:
    init(tmp_path / "one", party="one.example", role="authority")
    init(tmp_path / "two", party="two.example")
    card, file, new = tmp_path / "one.card", tmp_path / "succession", tmp_path / "new"
    psi("party", "export", card, "--home", tmp_path / "one")
    words = Home.open(tmp_path / "one").card.fingerprint()
    court = office.homes[VALIDATOR].card.fingerprint()
    psi(
        *("peer", "add", office.card(VALIDATOR), "--home", tmp_path / "one"),
        *("--fingerprint", court, "--trust", "validator"),
    )
    add = ("peer", "add", file, "--home", tmp_path / "two", "--json")
    succeed = ("party", "succeed", file, "--home", tmp_path / "one", "--new-home", new)
    made = psi(*succeed, "--id", "one.example/2", "--no-passphrase", "--json")
    assert made.code == 0, made.out
    assert made.document["role"] == "authority"
    stranger = psi(*add)
    assert (stranger.code, stranger.reason) == (3, "peer_unknown")
    psi(
        *("peer", "add", card, "--home", tmp_path / "two"),
        *("--fingerprint", words, "--trust", "issuer"),
    )
    assert psi(*add, "--trust", "validator").code == 2
    taken = psi(*add)
    assert (taken.code, taken.document["trusted_as"]) == (0, ["issuer"])
    assert taken.document["fingerprint"] == made.document["fingerprint"] != words
    ids = [peer.id for peer in Peers(tmp_path / "two" / "peers")]
    assert ids == ["one.example", "one.example/2"]
    (pinned,) = Peers(new / "peers")
    assert (pinned.id, set(pinned.trusted_as)) == (VALIDATOR, {"validator"})
    log = open_log(Home.open(tmp_path / "one"))
    last = json.loads(log.entry(log.size - 1))
    assert (last["type"], last["successor"]) == ("party.succeeded", "one.example/2")
    assert last["card_sha256"] == Home.open(new).card.sha256.hex()


def test_a_party_is_not_its_own_successor(office: Office, tmp_path: Path) -> None:
    init(tmp_path / "one")
    succeed = ("party", "succeed", tmp_path / "s", "--home", tmp_path / "one")
    ran = psi(
        *(*succeed, "--new-home", tmp_path / "new", "--id", "new.example"),
        *("--no-passphrase", "--json"),
    )
    assert (ran.code, ran.reason) == (3, "succession_invalid")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]
