"""Signed notes (C2SP signed-note): a text and the signatures under it.

The bytes are: the text, which ends in a newline; an empty line; then one line for each signature,
``— <name> <base64(4-byte key id ‖ signature)>``. Parsing is strict by round trip: what does not
serialise to the same bytes is refused. Nothing is verified here.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.errors import VerificationError
from psishare.keys.note_key import KEY_ID_BYTES, require_note_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.keys.note_key import NoteKey

MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 64
_DASH = "\u2014 "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: a key's name and id, and what it signed with (time included, if any)."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line, with its newline."""
        encoded = base64.b64encode(self.key_id + self.signature).decode("ascii")
        return f"{_DASH}{self.name} {encoded}\n"

    def is_by(self, key: NoteKey) -> bool:
        """Tell whether the line names this key. That says nothing of its validity."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note: its text, newline included, and its signatures in order."""

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a note's bytes strictly.

        Raises:
            VerificationError: not a note in its one permitted spelling, or above the limits (256 KiB,
                64 signatures).
        """
        if len(data) > MAX_NOTE_BYTES:
            raise _malformed("is too long")
        # The last empty line separates, because a text may hold empty lines.
        text, separator, lines = data.rpartition(b"\n\n")
        if not separator or not lines:
            raise _malformed("has no signatures")
        note = cls(_decode(text) + "\n", parse_signatures(lines))
        if note.serialise() != data:
            raise _malformed("is spelt irregularly")
        return note

    def serialise(self) -> bytes:
        """Return the note's bytes."""
        return (self.text + "\n" + "".join(s.line() for s in self.signatures)).encode()

    def by(self, key: NoteKey) -> tuple[NoteSignature, ...]:
        """Return the signatures that name a key."""
        return tuple(signature for signature in self.signatures if signature.is_by(key))

    def with_signatures(self, more: Iterable[NoteSignature]) -> SignedNote:
        """Return the note with further signatures, leaving out keys that have signed already.

        Raises:
            VerificationError: there would be more than 64.
        """
        present = {(s.name, s.key_id) for s in self.signatures}
        added = []
        for signature in more:
            if (signature.name, signature.key_id) not in present:
                present.add((signature.name, signature.key_id))
                added.append(signature)
        signatures = (*self.signatures, *added)
        if len(signatures) > MAX_SIGNATURES:
            raise _malformed("would have too many signatures")
        return SignedNote(self.text, signatures)


def parse_signatures(data: bytes) -> tuple[NoteSignature, ...]:
    """Parse signature lines, without the note that they belong to.

    Raises:
        VerificationError: not 1 to 64 signature lines in their one permitted spelling.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise _malformed("is too long")
    text = _decode(data)
    if not text.endswith("\n"):
        raise _malformed("does not end in a newline")
    lines = text.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _malformed("has too many signatures")
    signatures = tuple(_parse_line(line) for line in lines)
    if "".join(signature.line() for signature in signatures) != text:
        raise _malformed("has an irregular signature line")
    return signatures


def serialise_signatures(signatures: Iterable[NoteSignature]) -> bytes:
    """Return signature lines as bytes."""
    return "".join(signature.line() for signature in signatures).encode()


def _parse_line(line: str) -> NoteSignature:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator:
        raise _malformed("has a line that is no signature")
    require_note_name(name)
    try:
        data = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise _malformed("has a signature that is not base64") from None
    if len(data) <= KEY_ID_BYTES:
        raise _malformed("has an empty signature")
    return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("is not UTF-8") from None
    if any(character < " " and character != "\n" for character in text):
        raise _malformed("holds a control character")
    return text


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        f"a signed note {fault}",
        mend="Get the note again from its author; it must not be reformatted on the way.",
        reason="note_malformed",
    )
