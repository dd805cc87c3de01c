from __future__ import annotations

import contextlib

import pytest
from audit_examples import ORIGIN, PEER, make_party
from hypothesis import given
from hypothesis import strategies as st

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.cosignature import cosign, verify_cosignature, verify_cosignatures
from psishare.audit.merkle import EMPTY_ROOT, leaf_hash
from psishare.audit.note import MAX_SIGNATURES, NoteSignature, SignedNote, parse_signatures
from psishare.audit.signed_checkpoint import sign_checkpoint, verify_checkpoint
from psishare.errors import InternalError, VerificationError
from psishare.keys.log_keys import LogKeys

PARTY = make_party()
COSIGNER = make_party(PEER, seed=2)
HEAD = Checkpoint(ORIGIN, 7, leaf_hash(b"seven"))
NOTE = sign_checkpoint(HEAD, PARTY.signer, PARTY.pq_signer, time=1_785_000_000)
BYTES = NOTE.serialise()
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


def test_a_signed_checkpoint_is_three_lines_and_two_signatures() -> None:
    lines = BYTES.decode().split("\n")
    assert lines[:2] == [ORIGIN, "7"]
    assert lines[3] == ""
    assert [line.split(" ")[:2] for line in lines[4:6]] == [["\u2014", ORIGIN]] * 2
    assert lines[6:] == [""]
    assert verify_checkpoint(BYTES, PARTY.verifiers) == HEAD == parse_checkpoint(BYTES)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n7\n{ROOT}",
        f"{ORIGIN}\n7\n{ROOT}\n\n",
        f"{ORIGIN}\n7\n{ROOT}\nextension\n",
        f"{ORIGIN}\n07\n{ROOT}\n",
        f"{ORIGIN}\n+7\n{ROOT}\n",
        f"{ORIGIN}\n-7\n{ROOT}\n",
        f"{ORIGIN}\n1_0\n{ROOT}\n",
        f"{ORIGIN}\n 7\n{ROOT}\n",
        f"{ORIGIN}\n7 \n{ROOT}\n",
        f"{ORIGIN}\n0x7\n{ROOT}\n",
        f"{ORIGIN}\n7.0\n{ROOT}\n",
        f"{ORIGIN}\n\u0667\n{ROOT}\n",
        f"{ORIGIN}\n\n{ROOT}\n",
        f"{ORIGIN}\n9223372036854775808\n{ROOT}\n",
        f"{ORIGIN}\n{'9' * 400}\n{ROOT}\n",
        f"{ORIGIN}\n0\n{ROOT}\n",
        f"{ORIGIN}\n7\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT}=\n",
        f"{ORIGIN}\n7\n{ROOT[:-2]}J=\n",
        f"{ORIGIN}\n7\n{ROOT.replace('+', '-').replace('/', '_')}\n",
        f"{ORIGIN}\n7\n{ROOT[:9]} {ROOT[9:]}\n",
        f"{ORIGIN}\n7\nAAAA\n",
        f"\n7\n{ROOT}\n",
        f"a b\n7\n{ROOT}\n",
        f"a+b\n7\n{ROOT}\n",
        f"{'a' * 256}\n7\n{ROOT}\n",
        f"{ORIGIN}\r\n7\r\n{ROOT}\r\n",
        "",
    ],
)
def test_another_spelling_of_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse_text(text)


def test_the_largest_size_parses_and_the_empty_tree_has_its_root() -> None:
    largest = Checkpoint("a", 2**63 - 1, bytes(32))
    assert Checkpoint.parse_text(largest.text()) == largest
    empty = Checkpoint("a", 0, EMPTY_ROOT)
    assert Checkpoint.parse_text(empty.text()) == empty


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b"\n" + data,
        lambda data: data.replace(b"\n\n", b"\n"),
        lambda data: data.replace(b"\n\n", b"\n\n\n"),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\xe2\x80\x94 ", b"- "),
        lambda data: data.replace(b"\xe2\x80\x94 ", b"\xe2\x80\x94  "),
        lambda data: data.replace(b"\xe2\x80\x94 ", b"\xe2\x80\x94\xc2\xa0"),
        lambda data: data.replace(b"=\n", b"\n"),
        lambda data: data.replace(b"=\n", b"==\n"),
        lambda data: data.replace(b"log ", b"log+x "),
        lambda data: data.replace(b"log ", b"log x "),
        lambda data: data.replace(b"log ", b"log\t"),
        lambda data: data.replace(b"7", b"\x00"),
        lambda data: data.replace(b"7", b"\xff"),
        lambda data: data.partition(b"\n\n")[0] + b"\n\n",
        lambda data: data.partition(b"\n\n")[0],
        lambda data: data + b"x" * 300_000,
        lambda data: b"\xef\xbb\xbf" + data,
    ],
)
def test_another_spelling_of_a_note_is_refused(change: object) -> None:
    changed = change(BYTES)  # type: ignore[operator]
    with pytest.raises(VerificationError):
        verify_checkpoint(changed, PARTY.verifiers)


def test_base64_with_stray_bits_or_characters_is_refused() -> None:
    line = NoteSignature("a", b"\0\0\0\0", b"\0").line()
    assert line == "\u2014 a AAAAAAA=\n"
    for other in (
        "AAAAAAB=",
        "AAAAAAA",
        "AAAA AAA=",
        "AAAAAAA=\u200b",
        "AAAA-AA=",
        "AAAAAA==",
        "AAAAAA=",
    ):
        with pytest.raises(VerificationError):
            parse_signatures(f"\u2014 a {other}\n".encode())


def test_an_empty_signature_is_refused() -> None:
    with pytest.raises(VerificationError, match="empty signature"):
        parse_signatures("\u2014 a AAAAAA==\n".encode())


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_raise_nothing_but_ours(data: bytes) -> None:
    for candidate in (data, b"a\n7\n\n" + data, BYTES[: len(data)] + data + BYTES[len(data) :]):
        with contextlib.suppress(VerificationError):
            assert SignedNote.parse(candidate).serialise() == candidate


@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
def test_every_changed_byte_of_a_checkpoint_is_refused(place: int, difference: int) -> None:
    changed = bytearray(BYTES)
    changed[place] ^= difference
    with pytest.raises(VerificationError):
        verify_checkpoint(bytes(changed), PARTY.verifiers)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_checkpoint_that_lost_one_kind_of_signature_is_refused(kept: int) -> None:
    stripped = SignedNote(NOTE.text, (NOTE.signatures[kept],)).serialise()
    with pytest.raises(VerificationError) as caught:
        verify_checkpoint(stripped, PARTY.verifiers)
    assert caught.value.reason == "checkpoint_invalid"
    assert "has no" in caught.value.message


def test_a_second_wrong_signature_under_a_known_key_refuses_the_note() -> None:
    wrong = NoteSignature(ORIGIN, NOTE.signatures[0].key_id, bytes(64))
    note = SignedNote(NOTE.text, (*NOTE.signatures, wrong)).serialise()
    with pytest.raises(VerificationError, match="wrong Ed25519"):
        verify_checkpoint(note, PARTY.verifiers)


def test_signatures_of_unknown_keys_are_ignored() -> None:
    strangers = tuple(NoteSignature(ORIGIN, bytes([i] * 4), b"x") for i in range(20))
    note = SignedNote(NOTE.text, (*strangers, *NOTE.signatures)).serialise()
    assert verify_checkpoint(note, PARTY.verifiers) == HEAD


def test_a_checkpoint_of_another_log_or_key_is_refused() -> None:
    for other in (make_party("other.example", seed=1), make_party(ORIGIN, seed=3)):
        with pytest.raises(VerificationError):
            verify_checkpoint(BYTES, other.verifiers)
    # The right keys under the right name, over a text that names another log.
    foreign = Checkpoint("other.example", 7, HEAD.root_hash).text()
    signature = NoteSignature(ORIGIN, PARTY.signer.key.key_id, PARTY.signer.sign(foreign.encode()))
    note = SignedNote(foreign, (signature, NOTE.signatures[1])).serialise()
    with pytest.raises(VerificationError, match="another log"):
        verify_checkpoint(note, PARTY.verifiers)


def test_a_verifier_with_one_kind_of_key_is_our_fault() -> None:
    for keys in (
        [],
        PARTY.verifiers[:1],
        PARTY.verifiers[1:],
        [*PARTY.verifiers, COSIGNER.signer.key],
    ):
        with pytest.raises(InternalError):
            verify_checkpoint(BYTES, keys)
    with pytest.raises(InternalError):
        sign_checkpoint(
            Checkpoint("other", 7, HEAD.root_hash), PARTY.signer, PARTY.pq_signer, time=1
        )


def test_a_pair_that_is_to_come_later_is_not_asked_for() -> None:
    keys = LogKeys.of(PARTY.verifiers)
    newer = make_party(ORIGIN, seed=9)
    assert verify_checkpoint(BYTES, keys.rotated(newer.verifiers, HEAD.tree_size)) == HEAD
    with pytest.raises(VerificationError, match="Ed25519 signature by the key that has to"):
        verify_checkpoint(BYTES, keys.rotated(newer.verifiers, HEAD.tree_size - 1))


def test_what_a_cosigner_signs_is_as_the_specification_gives_it() -> None:
    lines = parse_signatures(cosign(HEAD, COSIGNER.cosigners, time=1_679_315_147))
    time = (1_679_315_147).to_bytes(8, "big")
    assert [line.signature[:8] for line in lines] == [time, time]
    COSIGNER.cosigner.key.verify(
        b"cosignature/v1\ntime 1679315147\n" + HEAD.text().encode(), lines[0].signature[8:]
    )
    COSIGNER.pq_signer.key.verify(
        b"subtree/v1\n\x00"
        + bytes([len(PEER)])
        + PEER.encode()
        + time
        + bytes([len(ORIGIN)])
        + ORIGIN.encode()
        + bytes(8)
        + (7).to_bytes(8, "big")
        + HEAD.root_hash,
        lines[1].signature[8:],
    )


def test_cosignatures_verify_by_both_keys_and_give_the_time() -> None:
    lines = cosign(HEAD, COSIGNER.cosigners, time=1_785_000_000)
    assert verify_cosignatures(HEAD, lines, COSIGNER.cosigner_keys) == 1_785_000_000


def refused_cosignatures(lines: bytes, head: Checkpoint = HEAD) -> str:
    with pytest.raises(VerificationError) as caught:
        verify_cosignatures(head, lines, COSIGNER.cosigner_keys)
    return caught.value.reason


def test_a_cosignature_that_lacks_a_kind_or_brings_a_stranger_is_refused() -> None:
    lines = cosign(HEAD, COSIGNER.cosigners, time=1).splitlines(keepends=True)
    assert refused_cosignatures(lines[0]) == "cosignature_invalid"
    assert refused_cosignatures(lines[1]) == "cosignature_invalid"
    assert refused_cosignatures(lines[0] * 2 + lines[1]) == "cosignature_invalid"
    stranger = cosign(HEAD, PARTY.cosigners, time=1)
    assert refused_cosignatures(lines[0] + lines[1] + stranger) == "cosignature_invalid"
    assert refused_cosignatures(stranger) == "cosignature_invalid"
    with pytest.raises(VerificationError):
        verify_cosignatures(HEAD, lines[0], [])


def test_a_cosignature_of_another_head_is_refused() -> None:
    lines = cosign(HEAD, COSIGNER.cosigners, time=1)
    for other in (
        Checkpoint(ORIGIN, 8, HEAD.root_hash),
        Checkpoint(ORIGIN, 7, bytes(32)),
        Checkpoint("other.example", 7, HEAD.root_hash),
    ):
        assert refused_cosignatures(lines, other) == "cosignature_invalid"


def test_a_cosignature_without_a_time_is_refused() -> None:
    assert refused_cosignatures(cosign(HEAD, COSIGNER.cosigners, time=0)) == "cosignature_invalid"


@pytest.mark.parametrize("kind", [0, 1])
def test_a_cosignature_with_another_time_or_length_is_refused(kind: int) -> None:
    line = parse_signatures(cosign(HEAD, COSIGNER.cosigners, time=5))[kind]
    key = COSIGNER.cosigner_keys[kind]
    for changed in (
        (6).to_bytes(8, "big") + line.signature[8:],
        b"\x80" + line.signature[1:],
        line.signature[:-1],
        line.signature + b"\0",
        b"",
    ):
        with pytest.raises(VerificationError):
            verify_cosignature(HEAD, key, NoteSignature(line.name, line.key_id, changed))


def test_a_log_s_own_key_does_not_cosign() -> None:
    with pytest.raises(InternalError):
        cosign(HEAD, [PARTY.signer], time=1)


def test_a_note_takes_cosignatures_once_and_not_without_end() -> None:
    more = parse_signatures(cosign(HEAD, COSIGNER.cosigners, time=1))
    note = NOTE.with_signatures(more).with_signatures(more)
    assert len(note.signatures) == 4
    assert verify_checkpoint(note.serialise(), PARTY.verifiers) == HEAD
    flood = [NoteSignature("x", i.to_bytes(4, "big"), b"x") for i in range(MAX_SIGNATURES)]
    with pytest.raises(VerificationError, match="too many"):
        note.with_signatures(flood)
