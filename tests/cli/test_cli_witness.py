"""``audit witness``: a real witness's cosignature is kept; whatever else it answers is named."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from audit_examples import make_party
from cli_stage import PLATFORM, Ran, psi
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from witness_server import Answer, Witness

import psishare
from psishare.audit.entry import Heartbeat
from psishare.audit.note import SignedNote
from psishare.client.opened_home import open_log
from psishare.errors import ConfigError, PsishareError
from psishare.transport.http_post import post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from psishare.parties.home import Home

WITNESS = make_party("witness.example", seed=40)
OTHER = make_party("other.example", seed=41)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return psishare.init_party(
        tmp_path / "tele", party_id=PLATFORM, role="platform", display_name="Tele"
    )


@pytest.fixture
def witness(home: Home) -> Iterator[Witness]:
    with Witness(WITNESS, {PLATFORM: home.card.checkpoint_verifiers}).serving() as serving:
        yield serving


def policy(home: Home, *lines: str, quorum: str = "w") -> Path:
    path = home.path.with_name("witnesses.policy")
    log = home.card.verifiers()[0].encode()
    text = "\n".join([f"log {log}", *lines, f"quorum {quorum}", ""])
    path.write_text(text, encoding="utf-8")
    return path


def line(url: str, *, name: str = "w", party: object = WITNESS, key: int = 0) -> str:
    return f"witness {name} {party.cosigner_keys[key].encode()} {url}"  # type: ignore[attr-defined]


def ask(home: Home, *lines: str, quorum: str = "w") -> Ran:
    file = policy(home, *lines, quorum=quorum)
    return psi("audit", "witness", "--home", home.path, "--policy", file, "--json")


def reasons(ran: Ran) -> list[str | None]:
    return [each["reason"] for each in ran.document["witnesses"]]


def grow(home: Home, n: int = 1) -> None:
    log = open_log(home)
    for _ in range(n):
        log.append(Heartbeat(failed_handshakes=0))


def lines_by(home: Home, size: int | None = None) -> int:
    """Return how many lines the witness has on a checkpoint."""
    note = SignedNote.parse(open_log(home).checkpoint(size))
    return sum(signature.name == WITNESS.name for signature in note.signatures)


def test_a_witness_s_cosignature_is_kept_and_satisfies_the_policy(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    both = [line(witness.url), line(witness.url, name="v", key=1), "group g all w v"]
    for grown in (0, 1, 3):
        grow(home, grown)
        ran = ask(home, *both, quorum="g")
        assert (ran.code, reasons(ran)) == (0, [None])
        assert lines_by(home) == 2
    # One call each time, from the size that it cosigned last; own signatures alone are sent.
    assert [call.split(b"\n")[0] for call in witness.calls] == [b"old 0", b"old 1", b"old 2"]
    assert all(call.count(PLATFORM.encode()) == 3 for call in witness.calls)
    card = tmp_path / "tele.card"
    card.write_bytes(home.export_card())
    file = policy(home, *both, quorum="g")
    verified = psi("audit", "verify", home.path / "log", "--trust", card, "--policy", file)
    assert verified.code == 0, verified.err
    assert psi("audit", "fsck", home.path / "log", "--trust", card).code == 0


def test_asked_again_it_answers_and_nothing_is_kept_twice(home: Home, witness: Witness) -> None:
    for _ in range(2):
        assert ask(home, line(witness.url)).code == 0
        assert lines_by(home) == 1


def test_a_witness_that_has_seen_another_size_is_asked_from_there(
    home: Home, witness: Witness
) -> None:
    grow(home, 2)
    assert ask(home, line(witness.url)).code == 0
    grow(home, 2)
    # Another witness of that state: the log knows of no cosignature by it.
    with Witness(OTHER, witness.logs).serving() as other:
        other.seen = dict(witness.seen)
        ran = ask(home, line(other.url, party=OTHER))
    assert (ran.code, len(other.calls)) == (0, 2)
    assert [call.split(b"\n")[0] for call in other.calls] == [b"old 0", b"old 3"]


def test_a_log_whose_keys_were_rotated_is_witnessed(home: Home, witness: Witness) -> None:
    psishare.rotate_log_keys(home)
    assert ask(home, line(witness.url)).code == 0
    rotated = psishare.retire_log_keys(home)
    assert reasons(ask(home, line(witness.url))) == ["witness_refused"]
    witness.logs[PLATFORM] = rotated.card.checkpoint_verifiers
    assert ask(rotated, line(witness.url)).code == 0


def test_a_log_restored_from_an_old_copy_is_found_by_its_witness(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    grow(home, 3)
    assert ask(home, line(witness.url)).code == 0
    other = psishare.init_party(
        tmp_path / "other", party_id=PLATFORM, role="platform", display_name="Tele"
    )
    witness.logs[PLATFORM] = other.card.checkpoint_verifiers
    assert reasons(ask(other, line(witness.url))) == ["log_rolled_back"]
    grow(other, 5)
    forked = ask(other, line(witness.url))
    assert (forked.code, reasons(forked)) == (8, ["log_inconsistent"])
    assert lines_by(other) == 0


def test_one_witness_that_fails_keeps_no_other_from_being_asked(
    home: Home, witness: Witness
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    lines = [line(dead, name="d", party=OTHER), line(witness.url)]
    ran = ask(home, *lines, "group g any d w", quorum="g")
    assert (ran.code, set(reasons(ran))) == (0, {"witness_unreachable", None})
    ran = ask(home, *lines, "group g all d w", quorum="g")
    assert (ran.code, ran.document["quorum"]) == (8, False)


BROKEN: dict[str, tuple[Callable[[Answer], Answer], str]] = {
    "a status of no witness": (lambda _: (500, "text/plain", b""), "witness_failed"),
    "a redirection": (lambda _: (302, "text/plain", b""), "witness_failed"),
    "malformed call": (lambda _: (400, "text/plain", b""), "witness_refused"),
    "not this log's": (lambda _: (403, "text/plain", b""), "witness_refused"),
    "unknown log": (lambda _: (404, "text/plain", b""), "witness_refused"),
    "another history": (lambda _: (422, "text/plain", b""), "log_inconsistent"),
    "a size without its type": (lambda _: (409, "text/plain", b"0\n"), "witness_failed"),
    "a size of letters": (lambda _: (409, "text/x.tlog.size", b"1_0\n"), "witness_failed"),
    "a size with a zero": (lambda _: (409, "text/x.tlog.size", b"01\n"), "witness_failed"),
    "a size beyond all": (lambda _: (409, "text/x.tlog.size", b"9" * 19 + b"\n"), "witness_failed"),
    "a larger size": (lambda _: (409, "text/x.tlog.size", b"99\n"), "log_rolled_back"),
    "one size for ever": (lambda _: (409, "text/x.tlog.size", b"1\n"), "witness_failed"),
    "nothing": (lambda _: (200, "text/plain", b""), "note_malformed"),
    "too much": (lambda _: (200, "text/plain", b"a" * 70_000), "witness_failed"),
    "a line cut off": (lambda a: (200, "text/plain", a[2][:-1]), "note_malformed"),
    "another's": (
        lambda a: (200, "text/plain", a[2].replace(b"witness.example", b"third.example")),
        "cosignature_invalid",
    ),
    "one line twice": (lambda a: (200, "text/plain", a[2] * 2), "cosignature_invalid"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_whatever_else_a_witness_answers_is_named_and_not_kept(
    home: Home, witness: Witness, name: str
) -> None:
    witness.broken, reason = BROKEN[name]
    ran = ask(home, line(witness.url))
    assert (ran.code, reasons(ran)) == (8, [reason])
    assert lines_by(home) == 0
    assert len(witness.calls) <= 3
    witness.seen.clear()
    told = psi("audit", "witness", "--home", home.path, "--policy", policy(home, line(witness.url)))
    assert reason in told.out
    assert "lacks" in told.out


def test_a_cosignature_of_another_tree_is_not_kept(home: Home, witness: Witness) -> None:
    assert ask(home, line(witness.url)).code == 0
    old = witness.answer(witness.calls[0].replace(b"old 0", b"old 1"))
    grow(home)
    witness.broken = lambda _: old
    assert reasons(ask(home, line(witness.url))) == ["cosignature_invalid"]
    assert lines_by(home) == 0


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context for 127.0.0.1, and the file by which its certificate is trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "witness")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "witness.pem", folder / "witness.key"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return context, chain


def test_over_tls_only_a_certificate_that_verifies_is_spoken_to(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, chain = certificate(tmp_path)
    witness = Witness(WITNESS, {PLATFORM: home.card.checkpoint_verifiers})
    with witness.serving(context):
        assert reasons(ask(home, line(witness.url))) == ["witness_unreachable"]
        assert witness.calls == []
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        other = witness.url.replace("127.0.0.1", "localhost")
        assert reasons(ask(home, line(other))) == ["witness_unreachable"]
        assert witness.calls == []
        assert ask(home, line(witness.url)).code == 0
    assert lines_by(home) == 1


def test_who_answers_drop_by_drop_or_not_at_all_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stop = threading.Event()

        def drip() -> None:
            taken, _ = server.accept()
            with taken:
                taken.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not stop.wait(0.02):
                    try:
                        taken.sendall(b"a")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(PsishareError) as caught:
            post(f"http://127.0.0.1:{port}/add-checkpoint", b"old 0\n", timeout_s=0.3)
        stop.set()
        thread.join()
    assert (caught.value.reason, caught.value.exit_code) == ("witness_unreachable", 6)


@pytest.mark.parametrize(
    "url",
    [
        "http://witness.example",
        "ftp://127.0.0.1",
        "https://",
        "https://a:b@witness.example",
        "https://witness.example/?q",
        "https://witness.example:99999",
        "//127.0.0.1",
        "https://w\u00eftness.example",
    ],
)
def test_a_url_that_is_not_called(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        post(url, b"")
    assert caught.value.reason == "address_invalid"


@pytest.mark.parametrize("user", ["", "somebody"])
def test_a_url_with_a_password_is_neither_called_nor_shown(user: str) -> None:
    with pytest.raises(ConfigError) as caught:
        post(f"https://{user}:open-sesame@witness.example/", b"")
    assert caught.value.reason == "address_invalid"
    assert "open-sesame" not in caught.value.diagnostics()


def test_a_policy_without_a_url_or_of_another_log_asks_nobody(home: Home) -> None:
    ran = ask(home, line(""))
    assert (ran.code, ran.document["error"]["reason"]) == (3, "witness_missing")
    file = policy(home, line("https://witness.example"))
    own = home.card.verifiers()[0].encode()
    text = file.read_text("utf-8").replace(own, OTHER.verifiers[0].encode())
    file.write_text(text, encoding="utf-8")
    ran = psi("audit", "witness", "--home", home.path, "--policy", file, "--json")
    assert (ran.code, ran.reason) == (8, "quorum_missing")
