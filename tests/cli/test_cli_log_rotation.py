"""``party rotate-log-keys``: two parties go on, auditors verify, and who has an old card is told so."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli_stage import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Office, Ran, psi

import psishare
from psishare import parties
from psishare.audit.entry import Heartbeat, parse_entry
from psishare.audit.log import Log
from psishare.audit.verify_log import verify_log_folder
from psishare.client import log_rotation
from psishare.client.opened_home import open_log
from psishare.client.renewal import log_card, renew_sealing_key
from psishare.errors import AuditError, ConfigError, PsishareError
from psishare.parties.home import Home
from psishare.parties.log_rotation import adopt_log_keys
from psishare.parties.signer_choice import ALGORITHMS, read_signer_choices

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.keys.signer import Algorithm

SIGNER_PROGRAM = Path(__file__).parents[1] / "signer_program.py"


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(tmp_path)
    made.encode()
    return made


def exchange(office: Office) -> int:
    """Run an exchange, and return how many matched."""
    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", datasets=["customers"]) as server,
        psishare.Party.open(office.home(AUTHORITY)) as authority,
        authority.connect(PLATFORM, server.address) as session,
    ):
        return asked(office, session)


def asked(office: Office, session: psishare.Session) -> int:
    return session.match(
        office.suspects,
        key=psishare.KeyColumn("phone", "phone", region="DE"),
        dataset="customers",
        mandate=office.mandate().read_bytes(),
    ).count


def rotate(office: Office, party: str, *more: str) -> Ran:
    return psi("party", "rotate-log-keys", "--home", office.home(party), *more, "--json")


def newest(office: Office, party: str) -> bytes:
    return Home.open(office.home(party)).export_card()


def take_card(office: Office, at: str, of: str) -> None:
    psishare.pin_peer(office.homes[at], newest(office, of), fingerprint=None, trusted_as=None)


def trusting(folder: Path, *cards: bytes) -> list[str]:
    """Write cards to files, and return the options that trust them."""
    folder.mkdir(exist_ok=True)
    options = []
    for place, card in enumerate(cards):
        path = folder / f"{place}.card"
        path.write_bytes(card)
        options += ["--trust", str(path)]
    return options


def signers_file(folder: Path, *algorithms: Algorithm, fault: str = "") -> Path:
    """Write a file of signers: a program that holds the keys, and may misbehave."""
    seed, file = folder / "seed", folder / f"signers{fault}.toml"
    seed.write_bytes(bytes(range(32)))
    program = json.dumps(
        [sys.executable, str(SIGNER_PROGRAM), str(seed), *([fault] if fault else [])]
    )
    tables = (
        f"[{name}]\nsigner = 'process'\ncommand = '{program}'\n"
        for name in algorithms or ALGORITHMS
    )
    file.write_text("".join(tables), encoding="utf-8")
    return file


def later_keys(home: Path) -> list[Path]:
    """Return the files of keys that followed the log's first ones."""
    return sorted((home / "keys").glob("log_*-*.json"))


def full(*_: object, **__: object) -> Any:
    raise AuditError("full", mend="free space", reason="log_write_failed")


def types(home: Path) -> list[str]:
    log = open_log(Home.open(home))
    return [parse_entry(data).type for data in log.entries(0, log.size)]


def test_exchanges_go_on_through_a_rotation_and_the_evidence_of_both_verifies(
    office: Office, tmp_path: Path
) -> None:
    before = {party: newest(office, party) for party in (PLATFORM, AUTHORITY)}
    assert exchange(office) == 2
    for party, other in ((PLATFORM, AUTHORITY), (AUTHORITY, PLATFORM)):
        fingerprint = Home.open(office.home(party)).card.fingerprint()
        begun = rotate(office, party)
        assert (begun.code, begun.document["fingerprint"]) == (0, fingerprint)
        assert [keys["last"] for keys in begun.document["log_keys"]] == [None, None]
        assert exchange(office) == 2
        take_card(office, other, party)
        assert exchange(office) == 2
        done = rotate(office, party, "--finish")
        assert (done.code, done.document["serial"]) == (0, 3)
        # The peer has the card before: it knows the keys that sign alone now.
        assert exchange(office) == 2
        take_card(office, other, party)
        assert exchange(office) == 2
    for party in (PLATFORM, AUTHORITY):
        told = [kind for kind in types(office.home(party)) if kind.split(".")[0] in ("log", "card")]
        assert told == [
            "log.created",
            *("log.keys_rotated", "card.changed", "log.keys_retired", "card.changed"),
        ]
    after = {party: newest(office, party) for party in (PLATFORM, AUTHORITY)}
    mandates = [office.homes[party].export_card() for party in (ISSUER, VALIDATOR)]
    bundles = []
    for party in (PLATFORM, AUTHORITY):
        bundles.append(tmp_path / f"{party}.bundle")
        made = psi("audit", "export", bundles[-1], "--home", office.home(party), "--json")
        assert made.code == 0, made.out
    for cards in (before, after):
        trust = trusting(tmp_path / "trust", *cards.values(), *mandates)
        for place in (*bundles, office.home(PLATFORM) / "log", office.home(AUTHORITY) / "log"):
            ran = psi("audit", "verify", place, *trust, "--all-checkpoints", "--json")
            assert ran.code == 0, ran.out
            assert len(ran.document["exchanges"]) == 9
            assert ran.document["later_keys"] == (1 if cards is before else 0)
            said = psi("audit", "verify", place, *trust).out
            assert ("does not name yet" in said) == (cards is before)
        ran = psi("audit", "reconcile", *map(str, bundles), *trust, "--json")
        assert (ran.code, ran.document["findings"]) == (0, [])
        for party in (PLATFORM, AUTHORITY):
            fsck = psi("audit", "fsck", office.home(party) / "log", *trust, "--json")
            assert fsck.code == 0, fsck.out
    prove(office, tmp_path, before, after)


def prove(
    office: Office, tmp_path: Path, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """A proof file is under the newest keys: it verifies with the newer card, and the older says why not."""
    trust = trusting(tmp_path / "after", *after.values())
    log = office.home(PLATFORM) / "log"
    exchanges = psi("audit", "verify", log, *trust, "--json").document["exchanges"]
    proof = tmp_path / "proof"
    prove = ("audit", "prove", exchanges[0]["exchange_id"], proof)
    assert psi(*prove, "--home", office.home(PLATFORM)).code == 0
    assert psi("audit", "check-proof", proof, *trust).code == 0
    old = psi(
        "audit", "check-proof", proof, *trusting(tmp_path / "before", *before.values()), "--json"
    )
    assert (old.code, old.reason) == (8, "checkpoint_invalid")
    assert "newest card" in old.document["error"]["mend"]


def test_a_peer_with_a_card_from_before_is_refused_only_when_the_overlap_is_over(
    office: Office,
) -> None:
    assert exchange(office) == 2
    assert rotate(office, PLATFORM).code == 0
    assert exchange(office) == 2
    assert rotate(office, PLATFORM, "--finish").code == 0
    with pytest.raises(PsishareError) as caught:
        exchange(office)
    assert caught.value.reason == "checkpoint_invalid"
    take_card(office, AUTHORITY, PLATFORM)
    assert exchange(office) == 2


def test_it_is_said_from_which_size_on_the_new_keys_sign(office: Office) -> None:
    home = office.home(PLATFORM)
    begun = psi("party", "rotate-log-keys", "--home", home).out
    overlap = Home.open(home).card.checkpoint_verifiers.newest.first
    assert f"The new keys sign the log from size {overlap} on.\n" in begun
    assert exchange(office) == 2
    done = psi("party", "rotate-log-keys", "--home", home, "--finish").out
    both = Home.open(home).card.checkpoint_verifiers.terms[0].last
    assert both is not None
    assert both > overlap
    assert f"The new keys sign the log from size {both + 1} on, alone.\n" in done


def test_a_server_that_runs_signs_with_the_new_keys(office: Office) -> None:
    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", datasets=["customers"]) as server,
    ):
        for act in (None, [], ["--finish"]):
            if act is not None:
                assert rotate(office, PLATFORM, *act).code == 0
            # As a person would run it: a party knows the cards that it had when it was opened.
            with (
                psishare.Party.open(office.home(AUTHORITY)) as authority,
                authority.connect(PLATFORM, server.address) as session,
            ):
                assert asked(office, session) == 2
            take_card(office, AUTHORITY, PLATFORM)
    card = Home.open(office.home(PLATFORM)).card
    verdict = verify_log_folder(office.home(PLATFORM) / "log", card.checkpoint_verifiers)
    assert verdict.keys == card.checkpoint_verifiers


def test_retired_keys_are_destroyed_but_not_those_that_sign_other_things(office: Office) -> None:
    home = office.home(PLATFORM)
    first = {path.name for path in (home / "keys").glob("log_*.json")}
    for _ in range(2):
        assert rotate(office, PLATFORM).code == 0
        assert len(list((home / "keys").glob("log_*.json"))) > len(first)
        assert rotate(office, PLATFORM, "--finish").code == 0
    left = {path.name for path in (home / "keys").glob("log_*.json")}
    assert left > first
    assert len(left) == 4
    assert psi("party", "show", "--home", home, "--keys").code == 0
    assert not (home / "next_log_keys.json").exists()
    take_card(office, AUTHORITY, PLATFORM)
    assert exchange(office) == 2


@pytest.mark.parametrize("finish", [False, True])
@pytest.mark.parametrize("cut_off", ["append", "card", "logged"])
def test_a_rotation_that_is_cut_off_is_completed_by_the_next_call(
    office: Office, monkeypatch: pytest.MonkeyPatch, finish: bool, cut_off: str
) -> None:
    home = office.home(PLATFORM)
    if finish:
        assert rotate(office, PLATFORM).code == 0
        take_card(office, AUTHORITY, PLATFORM)
    more = ["--finish"] if finish else []

    calls = 0

    def once(whole: Callable[..., Any]) -> Callable[..., Any]:
        def cut(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return full() if calls == 2 else whole(*arguments)

        return cut

    with monkeypatch.context() as patch:
        if cut_off == "append":
            patch.setattr(Log, "append", full)
        elif cut_off == "card":
            patch.setattr(log_rotation, "adopt_log_keys", once(adopt_log_keys))
        else:
            patch.setattr(log_rotation, "log_card", once(log_card))
        assert rotate(office, PLATFORM, *more).reason == "log_write_failed"
    # What the log says counts, whatever the card says: peers and doctor go on.
    assert exchange(office) == 2
    doctor = psi("doctor", "--home", home, "--json")
    assert ("log_rotation_unfinished" in doctor.out) == (cut_off == "card")
    again = rotate(office, PLATFORM, *more)
    if cut_off == "append":
        assert again.code == 0
    else:
        assert again.reason == ("log_rotation_missing" if finish else "log_rotation_pending")
    told = types(home)
    assert told.count("log.keys_rotated") == 1
    assert told.count("log.keys_retired") == finish
    assert told.count("card.changed") == 1 + finish
    assert "log_rotation_unfinished" not in psi("doctor", "--home", home, "--json").out
    keys = Home.open(home).card.checkpoint_verifiers
    assert verify_log_folder(home / "log", keys).keys == keys


def test_new_keys_can_be_in_another_program_and_none_comes_twice(
    office: Office, tmp_path: Path
) -> None:
    signers = signers_file(tmp_path)
    for _ in range(2):
        begun = rotate(office, PLATFORM, "--signers", str(signers))
        take_card(office, AUTHORITY, PLATFORM)
        if begun.code != 0:
            assert (begun.code, begun.reason) == (3, "log_key_reused")
            return
        assert exchange(office) == 2
        assert rotate(office, PLATFORM, "--signers", str(signers)).reason == "log_rotation_pending"
        # The key files name the program, and stay while the pair signs.
        open_log(Home.open(office.home(PLATFORM))).append(Heartbeat(failed_handshakes=0))
        rotated = Home.open(office.home(PLATFORM))
        keys = rotated.card.checkpoint_verifiers
        assert verify_log_folder(rotated.log_path, keys).keys == keys
        assert rotate(office, PLATFORM, "--finish").code == 0
    raise AssertionError("a pair came twice")


@pytest.mark.parametrize("fault", ["refuse", "wrong", "die"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_new_keys_that_cannot_sign_do_not_come_into_the_log(
    office: Office, tmp_path: Path, algorithm: Algorithm, fault: str
) -> None:
    home = office.home(PLATFORM)
    size = open_log(Home.open(home)).size
    bad = signers_file(tmp_path, algorithm, fault=fault)
    ran = rotate(office, PLATFORM, "--signers", str(bad))
    assert (ran.code, ran.reason) == (3, "signer_failed")
    assert later_keys(home) == []
    assert not (home / "next_log_keys.json").exists()
    log = open_log(Home.open(home))
    assert log.size == size
    log.append(Heartbeat(failed_handshakes=0))
    # Once the signer works, the same command does what it says.
    good = signers_file(tmp_path, algorithm)
    assert rotate(office, PLATFORM, "--signers", str(good)).code == 0
    log.append(Heartbeat(failed_handshakes=0))
    keys = Home.open(home).card.checkpoint_verifiers
    assert verify_log_folder(home / "log", keys).keys == keys


@pytest.mark.parametrize("at_first", [None, "refuse"])
def test_the_signers_of_the_last_call_are_used_whatever_an_earlier_one_left(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_first: str | None
) -> None:
    home = office.home(PLATFORM)
    first = [] if at_first is None else ["--signers", str(signers_file(tmp_path, fault=at_first))]
    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", full)
        if at_first is not None:
            # As a key file stays where the power fails between it and the file that names the pair.
            patch.setattr(
                parties.log_rotation, "_make_pair", unnamed(parties.log_rotation._make_pair)
            )
        with pytest.raises((AuditError, KeyboardInterrupt)):
            psishare.rotate_log_keys(
                Home.open(home), signers=read_signer_choices(Path(first[1])) if first else None
            )
    left = later_keys(home)
    assert left
    assert rotate(office, PLATFORM, "--signers", str(signers_file(tmp_path))).code == 0
    kept = later_keys(home)
    assert len(kept) == 2
    assert all("process" in path.read_text(encoding="utf-8") for path in kept)
    assert not any("refuse" in path.read_text(encoding="utf-8") for path in kept)
    assert "log_keys_left" not in psi("doctor", "--home", home, "--json").out


def unnamed(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a pair and dies before a file names it."""

    def cut(home: Home, signers: Any) -> Any:
        make(home, signers)
        (home.path / "next_log_keys.json").unlink()
        raise KeyboardInterrupt

    return cut


def test_a_retired_key_that_was_left_is_told_of_and_destroyed_by_the_next_call(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = office.home(PLATFORM)
    for more in ([], ["--finish"], []):
        assert rotate(office, PLATFORM, *more).code == 0
    old, newer = later_keys(home)[:2], later_keys(home)
    with monkeypatch.context() as patch:
        patch.setattr(parties.log_rotation, "destroy_key", full)
        assert rotate(office, PLATFORM, "--finish").reason == "log_write_failed"
    assert later_keys(home) == newer
    doctor = psi("doctor", "--home", home, "--json")
    assert "log_keys_left" in doctor.out
    assert rotate(office, PLATFORM, "--finish").reason == "log_rotation_missing"
    assert len(later_keys(home)) == len(old)
    assert "log_keys_left" not in psi("doctor", "--home", home, "--json").out


def test_a_signer_that_gives_no_key_leaves_none_behind(office: Office, tmp_path: Path) -> None:
    home = office.home(PLATFORM)
    gone = signers_file(tmp_path, "ml-dsa-44")
    gone.write_text(gone.read_text("utf-8").replace("signer_program", "no_program"), "utf-8")
    ran = rotate(office, PLATFORM, "--signers", str(gone))
    assert (ran.code, ran.reason) == (3, "signer_failed")
    assert later_keys(home) == []


@pytest.mark.parametrize("overlap", [False, True])
def test_what_doctor_says_of_keys_left_never_ends_an_overlap(office: Office, overlap: bool) -> None:
    home = office.home(PLATFORM)
    for more in ([], ["--finish"], []):
        assert rotate(office, PLATFORM, *more).code == 0
    old = {path: path.read_bytes() for path in later_keys(home)}
    for more in (["--finish"], []) if overlap else (["--finish"],):
        assert rotate(office, PLATFORM, *more).code == 0
    signing = later_keys(home)
    left = [path for path in old if path not in signing]
    for path in left:
        path.write_bytes(old[path])
        path.chmod(0o600)
    never = home / "keys" / f"log_ed25519-{'0' * 16}.json"
    shutil.copy(left[0], never)
    (warned,) = left_keys(home)
    assert warned["message"].startswith("3 key files")
    act, reason = (
        ([], "log_rotation_pending") if overlap else (["--finish"], "log_rotation_missing")
    )
    assert ("--finish" in warned["mend"]) == (not overlap)
    assert reason in warned["mend"]
    assert rotate(office, PLATFORM, *act).reason == reason
    assert later_keys(home) == sorted([*signing, never])
    assert Home.open(home).card.checkpoint_verifiers.overlaps == overlap
    # What was never used goes with the next rotation.
    for more in (["--finish"], []) if overlap else ([],):
        assert rotate(office, PLATFORM, *more).code == 0
    assert not never.exists()
    assert left_keys(home) == []


def test_doctor_takes_no_key_that_signs_for_one_that_was_left_whatever_the_card_says(
    office: Office,
) -> None:
    home = office.home(PLATFORM)
    older = (home / "card.json").read_bytes()
    assert rotate(office, PLATFORM).code == 0
    (home / "card.json").write_bytes(older)
    assert len(later_keys(home)) == 2
    assert left_keys(home) == []
    assert "log_rotation_unfinished" in psi("doctor", "--home", home, "--json").out


def left_keys(home: Path) -> list[dict[str, str]]:
    """Return what doctor says of key files that a rotation left."""
    findings = psi("doctor", "--home", home, "--json").document["findings"]
    return [each for each in findings if each["code"] == "log_keys_left"]


@pytest.mark.parametrize("more", [[], ["--finish"]])
def test_no_serial_comes_twice_where_the_card_was_restored_alone(
    office: Office, more: list[str]
) -> None:
    home = office.home(PLATFORM)
    older = newest(office, PLATFORM)
    assert rotate(office, PLATFORM).code == 0
    take_card(office, AUTHORITY, PLATFORM)
    (home / "card.json").write_bytes(older)
    again = rotate(office, PLATFORM, *more)
    assert (again.code == 0) if more else (again.reason == "log_rotation_pending")
    assert Home.open(home).card.serial == 3 + len(more)
    # Peers have one of serial 2 already.
    take_card(office, AUTHORITY, PLATFORM)
    assert exchange(office) == 2


def test_no_serial_comes_twice_where_a_key_is_renewed_after_that(office: Office) -> None:
    home = office.home(PLATFORM)
    older = newest(office, PLATFORM)
    for _ in range(2):
        renew_sealing_key(Home.open(home))
    take_card(office, AUTHORITY, PLATFORM)
    (home / "card.json").write_bytes(older)
    assert renew_sealing_key(Home.open(home)).card.serial == 4
    # Peers have one of serial 3 already.
    take_card(office, AUTHORITY, PLATFORM)


def test_a_card_restored_from_before_two_rotations_says_that_keys_are_missing(
    office: Office,
) -> None:
    home = office.home(PLATFORM)
    older = newest(office, PLATFORM)
    for act in ([], ["--finish"]):
        assert rotate(office, PLATFORM, *act).code == 0
    (home / "card.json").write_bytes(older)
    ran = rotate(office, PLATFORM)
    assert (ran.code, ran.reason) == (8, "log_keys_unknown")
    assert "from one backup" in ran.document["error"]["mend"]


def test_what_cannot_be_rotated_says_so(office: Office) -> None:
    assert rotate(office, PLATFORM, "--finish").reason == "log_rotation_missing"
    assert rotate(office, PLATFORM).code == 0
    again = rotate(office, PLATFORM)
    assert (again.code, again.reason) == (3, "log_rotation_pending")
    none = rotate(office, ISSUER)
    assert (none.code, none.reason) == (3, "role_unfit")
    both = psi(
        *("party", "rotate-log-keys", "--home", office.home(PLATFORM)),
        *("--finish", "--signers", office.suspects),
    )
    assert both.code == 2


def test_a_card_with_another_past_of_its_keys_is_refused(office: Office, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(office.home(PLATFORM), copy)
    assert rotate(office, PLATFORM).code == 0
    take_card(office, AUTHORITY, PLATFORM)
    other = psishare.rotate_log_keys(Home.open(copy))
    other = psishare.retire_log_keys(other)
    assert other.card.serial == 3
    with pytest.raises(ConfigError) as caught:
        psishare.pin_peer(
            office.homes[AUTHORITY], other.export_card(), fingerprint=None, trusted_as=None
        )
    assert caught.value.reason == "card_changed"


def test_without_json_it_says_what_comes_next(office: Office) -> None:
    begun = psi("party", "rotate-log-keys", "--home", office.home(PLATFORM))
    assert "rotate-log-keys --finish" in begun.out
    done = psi("party", "rotate-log-keys", "--home", office.home(PLATFORM), "--finish")
    assert ", alone." in done.out
    shown = json.loads(psi("party", "show", "--home", office.home(PLATFORM), "--json").out)
    assert shown["log_keys"][0]["last"] == shown["log_keys"][1]["first"] + 2
