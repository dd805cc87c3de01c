"""Evidence of one party's log, opened and verified: a folder, or a bundle (protocols/specs/bundle.md).

Whatever it is, what comes out is the same: a head that trusted keys signed, mandates, and entries each
shown to stand under that head. Entries are read as they are asked for.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.entry import Entry, LogCreated, parse_entry
from psishare.audit.key_history import KeyHistory
from psishare.audit.layout import CHECKPOINT
from psishare.audit.merkle import InclusionVerifier, leaf_hash, verify_consistency
from psishare.audit.note import MAX_NOTE_BYTES, SignedNote
from psishare.audit.signed_checkpoint import require_up_to_date, verify_checkpoint
from psishare.audit.tree import StoredTree
from psishare.audit.verify_log import verify_log_folder
from psishare.errors import AuditError, ConfigError, VerificationError
from psishare.evidence.bundle import BundleReader, Header, malformed
from psishare.evidence.cosigned import bears_cosignature, has_cosigned
from psishare.evidence.mandate_book import MandateBook
from psishare.evidence.trust import trusted_card
from psishare.mandates.check import CLOCK_TOLERANCE_S
from psishare.parties.card import parse_card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from psishare.evidence.bundle import OlderCheckpoint
    from psishare.evidence.quorum import Quorum
    from psishare.keys.log_keys import LogKeys
    from psishare.parties.card import Card


@dataclass(frozen=True)
class Evidence:
    """One party's log, or a part of it.

    Attributes:
        owner: whose log it is, as the verifier's own card of that party has it.
        head: the checkpoint under which every entry stands.
        header: which part of the log it is; None where it is the whole folder.
        book: the mandates, verified.
        n_checkpoints: how many checkpoints were verified.
        cosigners: for each trusted party, the largest tree size that all of its keys have cosigned,
            among the checkpoints that were verified; 0 where none.
        unfinished: what a cut-off append left in a folder.
        read: yields each entry's bytes with its index, once; as ``entries`` does.
        keys: of the log's checkpoints, with which the entries of a whole log are to agree.
    """

    owner: Card
    head: Checkpoint
    header: Header | None
    book: MandateBook
    n_checkpoints: int
    cosigners: dict[str, int]
    unfinished: tuple[str, ...]
    read: Callable[[], Iterator[tuple[int, bytes]]]
    keys: LogKeys

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole log, so that what it does not tell is not in the log."""
        return self.header is None or self.header.scope == "all"

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Yield each entry, parsed, with its index in the log; once.

        Raises:
            VerificationError: an entry is malformed, or not where the head has it; or one is missing; or
                the log's keys do not follow one another as a whole log's entries say.
            AuditError: the evidence cannot be read.
        """
        for index, data in self.read():
            yield index, self.parse(index, data)

    def parse(self, index: int, data: bytes) -> Entry:
        """Parse one entry that was read, and require it to be one that can stand there.

        Raises:
            VerificationError: it is not.
        """
        try:
            entry = parse_entry(data)
        except VerificationError as error:
            raise VerificationError(
                f"entry {index} of the log of {self.owner.id}: {error.message}",
                mend=error.mend,
                reason=error.reason,
                party=self.owner.id,
            ) from None
        if isinstance(entry, LogCreated) != (index == 0):
            raise malformed(f"has an entry {index} of a type that cannot stand there")
        return entry


@contextlib.contextmanager
def open_evidence(
    path: Path,
    trust: Mapping[str, Card],
    *,
    all_checkpoints: bool = False,
    quorum: Quorum | None = None,
    mandates: Iterable[bytes] = (),
    clock_tolerance_s: int = CLOCK_TOLERANCE_S,
) -> Iterator[Evidence]:
    """Open a bundle or a log's folder and verify all of it but the entries of a bundle.

    Args:
        path: the file or folder.
        trust: the cards that the verifier trusts, by party id.
        all_checkpoints: verify every one of a bundle's older checkpoints, not only the newest that each
            trusted party cosigned; a folder's are always verified.
        quorum: which witnesses must have cosigned.
        mandates: further envelopes that the verifier has.
        clock_tolerance_s: by how much the platform's clock may have differed.

    Raises:
        ConfigError: a card is missing.
        VerificationError: something does not verify; the first thing is named.
        AuditError: there is no evidence, or it cannot be read.
    """
    book = MandateBook(trust, clock_tolerance_s=clock_tolerance_s)
    book.add_all(mandates)
    if path.is_dir():
        yield _open_folder(path, trust, book, quorum)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise AuditError(
            f"there is no evidence in {path}: {error.strerror or type(error).__name__}",
            mend="Name a bundle, or the folder `log` of a party's home, or a copy of it.",
            reason="evidence_missing",
        ) from error
    with file:
        reader = BundleReader(file)
        opening = _Opening(reader, trust, all_checkpoints=all_checkpoints or quorum is not None)
        yield opening.evidence(book, quorum)


def log_owner(path: Path, trust: Mapping[str, Card]) -> Card:
    """Return the trusted card of the party whose log a folder says it is; nothing is verified.

    Raises:
        ConfigError: that party's card is not among those that are trusted.
        VerificationError: the newest checkpoint is malformed.
        AuditError: there is no log, or it cannot be read.
    """
    return trusted_card(trust, parse_checkpoint(read_head(path)).origin)


def read_head(path: Path) -> bytes:
    """Return the newest checkpoint of a log's folder, a note; nothing is verified.

    Raises:
        AuditError: there is no log, or it cannot be read.
    """
    try:
        with (path / CHECKPOINT).open("rb") as file:
            return file.read(MAX_NOTE_BYTES)
    except OSError as error:
        raise AuditError(
            f"there is no log in {path}",
            mend="Name the folder `log` of a party's home, or a copy of it.",
            reason="log_missing",
        ) from error


def _open_folder(
    path: Path, trust: Mapping[str, Card], book: MandateBook, quorum: Quorum | None
) -> Evidence:
    owner = log_owner(path, trust)
    cosigners = [card for party, card in trust.items() if party != owner.id]
    log = verify_log_folder(
        path,
        owner.checkpoint_verifiers,
        cosigner_keys=[key for card in cosigners for key in card.cosigner_keys()],
    )
    if quorum is not None:
        quorum.require_log(log.keys)
        quorum.require_on(SignedNote.parse(read_head(path)), log.head)
    size = log.head.tree_size
    return Evidence(
        owner=owner,
        head=log.head,
        header=None,
        book=book,
        n_checkpoints=log.n_checkpoints,
        cosigners=log.cosigners,
        unfinished=log.unfinished,
        read=lambda: enumerate(StoredTree(path, size).entries(0, size)),
        keys=log.keys,
    )


class _Opening:
    """A bundle on its way to being evidence: head, cards, mandates and checkpoints in their order."""

    def __init__(
        self, reader: BundleReader, trust: Mapping[str, Card], *, all_checkpoints: bool
    ) -> None:
        self._reader = reader
        self._all = all_checkpoints
        self._owner = trusted_card(trust, reader.header.party)
        self._cosigners = [card for party, card in trust.items() if party != self._owner.id]
        self._cosigned = {card.id: 0 for card in self._cosigners}
        self._n_checkpoints = 0
        self._keys = self._cards()
        size = parse_checkpoint(reader.head).tree_size
        # A whole log tells when an overlap ends; until it does, both pairs have signed.
        whole = reader.header.scope == "all"
        self._verifiers = self._keys.binding(size) if whole else self._keys
        self._head = self._verified(reader.head)
        self._quorum_size = 0
        self._missing = {term.first for term in self._keys.terms[1:] if term.first < size}
        """Sizes of the first checkpoints under other keys: older ones that the bundle has to hold."""

    def evidence(self, book: MandateBook, quorum: Quorum | None) -> Evidence:
        """Verify everything before the entries."""
        reader = self._reader
        book.add_all(reader.mandates())
        vouched = max(self._cosigned.values(), default=0) == self._head.tree_size > 0
        if quorum is not None:
            quorum.require_log(self._keys)
            self._weigh(quorum, reader.head, self._head)
            vouched |= quorum.vouches_for(SignedNote.parse(reader.head), self._head)
        require_up_to_date(self._head, self._keys, vouched=vouched)
        self._checkpoints(quorum)
        required = None if quorum is None else self._quorum_size
        return Evidence(
            owner=self._owner,
            head=self._head,
            header=reader.header,
            book=book,
            n_checkpoints=self._n_checkpoints,
            cosigners=dict(sorted(self._cosigned.items())),
            unfinished=(),
            read=lambda: _Proven(reader, self._head, required).entries(self._owner, self._keys),
            keys=self._keys,
        )

    def _cards(self) -> LogKeys:
        """Require the cards to be cards, in order, and return the keys of the log's checkpoints.

        The cards are for people: the verifier's own ones count. But the owner's own tells of later keys of
        its log, where the key that the verifier's pins has signed it, and each pair the one after it.
        """
        keys, before = self._owner.checkpoint_verifiers, ""
        for card_file in self._reader.cards():
            try:
                card = parse_card(card_file)
            except ConfigError as error:
                raise malformed(f"holds a card that is none: {error.message}") from None
            if card.id <= before:
                raise malformed("has its cards in another order")
            before = card.id
            if card.id == self._owner.id and card.log_key == self._owner.log_key:
                keys = self._newer(card)
        return keys

    def _newer(self, card: Card) -> LogKeys:
        """Return the keys that the later of the trusted card and the bundle's tells of.

        Both are the pinned key's word: where they tell two pasts, that is the owner's contradiction.
        """
        own, told = self._owner.checkpoint_verifiers, card.checkpoint_verifiers
        older, newer = (own, told) if card.serial > self._owner.serial else (told, own)
        older.require_kept_by(newer)
        return newer

    def _checkpoints(self, quorum: Quorum | None) -> None:
        """Verify every older checkpoint, or the newest that each trusted party is said to have cosigned."""
        newest: dict[str, OlderCheckpoint] = {}
        for size, older in self._ordered():
            is_first = size in self._missing
            self._missing.discard(size)
            if self._all or is_first:
                self._older(older, quorum)
                continue
            note = SignedNote.parse(older.note)
            newest |= {card.id: older for card in self._cosigners if bears_cosignature(note, card)}
        for older in {each.note: each for each in newest.values()}.values():
            self._older(older, quorum)
        if self._missing:
            raise _without_first(min(self._missing))

    def _ordered(self) -> Iterator[tuple[int, OlderCheckpoint]]:
        before = -1
        for older in self._reader.checkpoints():
            size = parse_checkpoint(older.note).tree_size
            if not before < size < self._head.tree_size:
                raise malformed("has its checkpoints in another order")
            before = size
            yield size, older

    def _older(self, older: OlderCheckpoint, quorum: Quorum | None) -> None:
        """Verify an older checkpoint, and that the head's tree extends its tree."""
        checkpoint = self._verified(older.note)
        try:
            verify_consistency(
                checkpoint.tree_size,
                checkpoint.root_hash,
                self._head.tree_size,
                self._head.root_hash,
                older.proof,
            )
        except VerificationError as error:
            raise self._not_extended(checkpoint, error) from error
        if quorum is not None:
            self._weigh(quorum, older.note, checkpoint)

    def _not_extended(self, older: Checkpoint, error: VerificationError) -> VerificationError:
        return VerificationError(
            f"the log of {self._owner.id} is not shown to go on from its checkpoint of"
            f" {older.tree_size} entries: {error.message}",
            mend="Ask its owner for the bundle again; if it stays so, the log has forked: reconcile it with"
            " the logs of its peers.",
            reason=error.reason,
            party=self._owner.id,
        )

    def _verified(self, note: bytes) -> Checkpoint:
        """Verify a checkpoint by both of the log's signatures, and the cosignatures of trusted cards."""
        checkpoint = verify_checkpoint(note, self._verifiers)
        signed = SignedNote.parse(note)
        for card in self._cosigners:
            if has_cosigned(signed, checkpoint, card):
                self._cosigned[card.id] = max(self._cosigned[card.id], checkpoint.tree_size)
        self._n_checkpoints += 1
        return checkpoint

    def _weigh(self, quorum: Quorum, note: bytes, checkpoint: Checkpoint) -> None:
        if quorum.is_on(SignedNote.parse(note), checkpoint):
            self._quorum_size = max(self._quorum_size, checkpoint.tree_size)


class _Proven:
    """The entries of a bundle, each with its place proven, and none missing that its scope has."""

    def __init__(self, reader: BundleReader, head: Checkpoint, quorum_size: int | None) -> None:
        self._reader = reader
        self._head = head
        self._quorum_size = quorum_size

    def entries(self, owner: Card, keys: LogKeys) -> Iterator[tuple[int, bytes]]:
        """Yield each entry with its index; what is missing is named where its place is.

        A whole log's entries tell of its keys what is known of them, no less and no more: the checkpoints were
        verified under these.
        """
        if self._reader.header.scope != "all":
            yield from self._entries()
            return
        history = KeyHistory(owner.verifiers())
        for index, data in self._entries():
            history.take_all([(index, data)])
            yield index, data
        keys.require_told_by(history.keys, size=self._head.tree_size)

    def _entries(self) -> Iterator[tuple[int, bytes]]:
        run = _Run(self._reader.header, self._head.tree_size)
        tree = InclusionVerifier(self._head.tree_size, self._head.root_hash)
        for proven in self._reader.entries():
            tree.verify(leaf_hash(proven.entry), proven.index, proven.proof)
            if self._quorum_size is not None and proven.index >= self._quorum_size:
                raise VerificationError(
                    f"entry {proven.index} is under no checkpoint that satisfies the policy",
                    mend="Have witnesses cosign a newer checkpoint, and export again.",
                    reason="quorum_missing",
                )
            run.take(proven.index, proven.entry)
            yield proven.index, proven.entry
        run.finish()


class _Run:
    """The entries that a bundle must hold without a gap, by its scope.

    A period's run has the entry before it and the entry after it as neighbours, which show by their
    times that the run is all that there was.
    """

    def __init__(self, header: Header, size: int) -> None:
        self._since, self._until = header.since, header.until
        self._first, self._end = (0, 0)
        self._from, self._to = 0, 0
        if header.scope == "all":
            self._from, self._to = 0, size
        elif header.first is not None and header.end is not None:
            self._first, self._end = header.first, header.end
            if not self._first <= self._end <= size:
                raise malformed("tells of a period that its log cannot have")
            self._from, self._to = max(self._first - 1, 0), min(self._end + 1, size)
        self._due = self._from

    def take(self, index: int, data: bytes) -> None:
        """Check one entry off."""
        if not self._from <= index < self._to:
            return
        if index != self._due:
            raise _incomplete(self._due)
        self._due += 1
        if self._since is not None and self._until is not None:
            self._require_time(index, parse_entry(data).time)

    def finish(self) -> None:
        """Require every entry to have come."""
        if self._due < self._to:
            raise _incomplete(self._due)

    def _require_time(self, index: int, time: str) -> None:
        since, until = self._since or "", self._until or ""
        if index < self._first and time >= since:
            raise _incomplete(index)
        if index >= self._end and time < until and index >= self._first:
            raise _incomplete(index)


def _without_first(size: int) -> VerificationError:
    return VerificationError(
        f"the bundle lacks the checkpoint of {size} entries, the first under other keys of the log",
        mend="Ask for the bundle as `psishare audit export` writes it.",
        reason="bundle_incomplete",
    )


def _incomplete(index: int) -> VerificationError:
    return VerificationError(
        f"the bundle lacks entry {index}, which its scope has, or an entry beside it",
        mend="Ask for a bundle of the whole period, or of the whole log.",
        reason="bundle_incomplete",
    )
