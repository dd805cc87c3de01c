"""Export of evidence: the part of a party's log that somebody is to see, as one file.

Reads the log twice, once to choose and once to write, and holds the indices that it chose. Which
entries belong to which scope is protocols/specs/bundle.md, section 3.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from psishare.audit.checkpoint import parse_checkpoint
from psishare.audit.entry import (
    DatasetDelivered,
    DatasetPublished,
    DatasetRefused,
    Entry,
    ExchangeAborted,
    ExchangeApproved,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
    ExchangeRejected,
    MandateImported,
    parse_entry,
)
from psishare.audit.key_history import KeyHistory
from psishare.audit.layout import CHECKPOINTS
from psishare.audit.note import MAX_NOTE_BYTES, SignedNote
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.audit.tree import StoredTree
from psishare.errors import AuditError, ConfigError, InputError
from psishare.evidence.bundle import BundleWriter, Header, OlderCheckpoint, ProvenEntry
from psishare.evidence.cosigned import has_cosigned
from psishare.evidence.source import read_head
from psishare.exchange.document import now, write_time
from psishare.keys.durable_file import sync_folder
from psishare.mandates.archive import MandateArchive
from psishare.parties.card import parse_card
from psishare.parties.card_change import changing_card
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from psishare.parties.card import Card
    from psishare.parties.home import Home

_NEVER_COSIGN = frozenset({"issuer", "operator"})
_NAMES_MANDATE = ExchangeOpened | DatasetDelivered | MandateImported
_OfExchange = (
    ExchangeOpened
    | ExchangeClosed
    | ExchangeAborted
    | ExchangeRefused
    | ExchangeHeld
    | ExchangeApproved
    | ExchangeRejected
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of a log is exported.

    Attributes:
        since, until: of a period, times as entries write them: since ≤ t < until.
        mandate_id: of the scope ``mandate``.
        exchange_id: of the scope ``exchange``: 64 hexadecimal digits.
    """

    since: str | None = None
    until: str | None = None
    mandate_id: str | None = None
    exchange_id: str | None = None

    @property
    def kind(self) -> Literal["all", "period", "mandate", "exchange"]:
        """The scope's name."""
        if self.since is not None:
            return "period"
        if self.mandate_id is not None:
            return "mandate"
        return "all" if self.exchange_id is None else "exchange"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        header: the bundle's own header.
        tree_size: of the head.
        mandates: how many mandates.
        missing_mandates: digests of envelopes that are not kept here.
    """

    header: Header
    tree_size: int
    mandates: int
    missing_mandates: tuple[str, ...]


def export_bundle(
    home: Home,
    path: Path,
    scope: Scope,
    *,
    all_checkpoints: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a bundle of a party's log: whole and durable, or not at all.

    Args:
        home: the party's.
        path: the file; it must not be there yet.
        scope: which part.
        all_checkpoints: every older checkpoint, not only those that bear cosignatures.
        progress: called with the entries written, and their number.

    Raises:
        InputError: nothing is of that scope; or the file is there already or cannot be written.
        AuditError: there is no log, or it cannot be read.
        ConfigError: ``log_rotation_unfinished``: a rotation was cut off before the card named the log's keys.
        VerificationError: the log is damaged.
    """
    choice = _chosen(home, scope)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    if path.exists():
        raise _unwritable(path, "it is there already")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            exported = choice.write(file, all_checkpoints=all_checkpoints, progress=progress)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error.strerror or type(error).__name__) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return exported


def _chosen(home: Home, scope: Scope) -> _Choice:
    try:
        return _Choice(home, scope)
    except ConfigError as error:
        if error.reason != "log_rotation_unfinished":
            raise
    # The log comes before the card: a rotation that goes on holds the lock until the card names its keys, too.
    with changing_card(home) as settled:
        return _Choice(settled, scope)


class _Choice:
    """The entries of a scope, chosen, and what proves them."""

    def __init__(self, home: Home, scope: Scope) -> None:
        self._home = home
        self._scope = scope
        self._folder = home.log_path
        self._head_note = read_head(self._folder)
        # Read once, and after the head: a rotation meanwhile changes neither the one nor the other.
        self._card_file = home.export_card()
        self._keys = parse_card(self._card_file).checkpoint_verifiers
        self._size = verify_checkpoint(self._head_note, self._keys).tree_size
        self._tree = StoredTree(self._folder, self._size)
        self._require_own_keys()
        self._first, self._end = self._run() if scope.kind == "period" else (0, 0)
        self._digests = self._envelopes()
        self._exchanges = self._touched()
        self._manifests = self._evaluated()
        self._indices = self._choose()

    def write(
        self, file: BinaryIO, *, all_checkpoints: bool, progress: Callable[[int, int], None] | None
    ) -> Exported:
        """Write every record, in order."""
        writer = BundleWriter(file)
        n_entries = self._size if self._indices is None else len(self._indices)
        header = self._header(n_entries)
        writer.header(header)
        writer.head(self._head_note)
        for card_file in self._cards():
            writer.card(card_file)
        kept, missing = self._mandates()
        for envelope in kept:
            writer.mandate(envelope)
        for older in self._checkpoints(all_checkpoints=all_checkpoints):
            writer.checkpoint(older)
        for done, index in enumerate(self._indices or range(self._size), 1):
            proof = tuple(self._tree.inclusion_proof(index))
            writer.entry(ProvenEntry(index, self._tree.entry(index), proof))
            if progress is not None:
                progress(done, n_entries)
        writer.end()
        return Exported(header, self._size, len(kept), missing)

    def _require_own_keys(self) -> None:
        """Require the card to name the keys that the log's entries tell of: a verifier will hold them together.

        Raises:
            ConfigError: ``log_rotation_unfinished``.
            VerificationError: ``log_rotation_invalid``, the entries contradict each other.
        """
        history = KeyHistory(self._home.card.verifiers())
        history.take_all(enumerate(self._tree.entries(0, self._size)))
        if self._keys.told_by(self._size) != history.keys:
            raise ConfigError(
                f"the card of {self._home.id} does not name the keys of its log yet",
                mend="A rotation was cut off: give the command again, `psishare party rotate-log-keys` or"
                " the same with `--finish`; then export.",
                reason="log_rotation_unfinished",
            )

    def _header(self, n_entries: int) -> Header:
        scope = self._scope
        is_period = scope.kind == "period"
        return Header(
            party=self._home.id,
            scope=scope.kind,
            since=scope.since,
            until=scope.until,
            mandate_id=scope.mandate_id,
            exchange_id=scope.exchange_id,
            first=self._first if is_period else None,
            end=self._end if is_period else None,
            entries=n_entries,
            created=write_time(now()),
        )

    # Choosing.

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        for index, data in enumerate(self._tree.entries(0, self._size)):
            yield index, parse_entry(data)

    def _run(self) -> tuple[int, int]:
        """Return where a period's run begins and ends."""
        since, until = self._scope.since or "", self._scope.until or ""
        first, end = self._size, 0
        for index, entry in self._entries():
            if entry.time >= since:
                first = min(first, index)
            if entry.time < until:
                end = index + 1
        return first, max(first, end)

    def _envelopes(self) -> set[str]:
        """Return the digests of a mandate's envelopes; none where the scope is not a mandate."""
        if self._scope.kind != "mandate":
            return set()
        return {
            entry.mandate_sha256
            for _index, entry in self._entries()
            if isinstance(entry, ExchangeOpened | DatasetDelivered)
            and entry.mandate_id == self._scope.mandate_id
        }

    def _touched(self) -> set[str]:
        """Return the ids of the exchanges of which any entry is of the scope."""
        if self._scope.kind == "all":
            return set()
        return {
            entry.exchange_id
            for index, entry in self._entries()
            if isinstance(entry, _OfExchange) and self._touches(index, entry)
        }

    def _touches(self, index: int, entry: _OfExchange) -> bool:
        scope = self._scope
        if scope.kind == "exchange":
            return entry.exchange_id == scope.exchange_id
        if scope.kind == "period":
            return self._first <= index < self._end
        if isinstance(entry, ExchangeRefused):
            return entry.mandate_sha256 in self._digests
        if isinstance(entry, ExchangeApproved | ExchangeRejected):
            # What was held for it names the mandate.
            return False
        return entry.mandate_id == scope.mandate_id

    def _evaluated(self) -> set[str]:
        """Return the digests of the manifests of those exchanges, and of the scope's own deliveries."""
        if self._scope.kind == "all":
            return set()
        return {
            entry.manifest_sha256
            for index, entry in self._entries()
            if isinstance(entry, ExchangeOpened | DatasetDelivered)
            and entry.manifest_sha256 is not None
            and (self._is_own(index, entry) or self._is_told(entry))
        }

    def _is_told(self, entry: Entry) -> bool:
        return isinstance(entry, _OfExchange) and entry.exchange_id in self._exchanges

    def _is_own(self, index: int, entry: Entry) -> bool:
        """Tell whether an entry is of the scope by itself, whatever it drags along."""
        scope = self._scope
        if scope.kind == "period":
            return self._first - 1 <= index <= self._end
        if isinstance(entry, DatasetDelivered | MandateImported) and scope.kind == "mandate":
            return entry.mandate_id == scope.mandate_id
        return isinstance(entry, DatasetRefused) and entry.mandate_sha256 in self._digests

    def _choose(self) -> list[int] | None:
        """Return the indices chosen, ascending; None for all of them.

        Raises:
            InputError: there are none.
        """
        if self._scope.kind == "all":
            return None
        chosen = [index for index, entry in self._entries() if self._is_chosen(index, entry)]
        if not chosen:
            raise InputError(
                "the log has nothing of that mandate, exchange or period",
                mend="Look at `psishare exchange list` for what there is.",
                reason="scope_empty",
            )
        return chosen

    def _is_chosen(self, index: int, entry: Entry) -> bool:
        if self._is_own(index, entry) or self._is_told(entry):
            return True
        return (
            isinstance(entry, DatasetPublished | DatasetDelivered)
            and entry.manifest_sha256 in self._manifests
        )

    # What goes with them.

    def _cards(self) -> list[bytes]:
        """Return the card files of the owner and its peers, in increasing order of ids."""
        cards = Peers(self._home.peers_path).card_files()
        cards[self._home.id] = self._card_file
        return [cards[party] for party in sorted(cards)]

    def _mandates(self) -> tuple[list[bytes], tuple[str, ...]]:
        """Return the envelopes that the entries name, and the digests of those that are not kept."""
        archive = MandateArchive(self._home.mandates_path)
        kept, missing = [], []
        for digest in sorted(self._named_mandates()):
            envelope = archive.get(digest)
            if envelope is None:
                missing.append(digest)
            else:
                kept.append(envelope)
        return kept, tuple(missing)

    def _named_mandates(self) -> set[str]:
        digests, ids = set(), set()
        chosen = None if self._indices is None else set(self._indices)
        for index, entry in self._entries():
            if chosen is not None and index not in chosen:
                continue
            if isinstance(entry, ExchangeOpened | DatasetDelivered):
                digests.add(entry.mandate_sha256)
                ids.add(entry.mandate_id)
        # With an emergency comes what validates it, wherever in the log that is told.
        return digests | {
            entry.mandate_sha256
            for _index, entry in self._entries()
            if isinstance(entry, _NAMES_MANDATE) and entry.mandate_id in ids
        }

    def _checkpoints(self, *, all_checkpoints: bool) -> Iterable[OlderCheckpoint]:
        folder = self._folder / CHECKPOINTS
        names = (path.name for path in folder.iterdir() if path.name.isdecimal())
        sizes = sorted(size for size in map(int, names) if size < self._size)
        # The first under other keys are signed by the old ones, too: they tie the two together.
        firsts = {term.first for term in self._keys.terms[1:] if term.first < self._size}
        chosen = sizes if all_checkpoints else sorted({*self._cosigned(sizes), *firsts})
        for size in chosen:
            yield OlderCheckpoint(self._note(size), tuple(self._tree.consistency_proof(size)))

    def _cosigned(self, sizes: list[int]) -> list[int]:
        """Return, for each cosigner that the head lacks, the newest checkpoint that it cosigned."""
        peers = [peer.card for peer in Peers(self._home.peers_path)]
        wanted = [card for card in peers if card.role not in _NEVER_COSIGN]
        wanted = self._not_by(wanted, self._head_note)
        chosen = []
        for size in reversed(sizes):
            if not wanted:
                break
            missing = self._not_by(wanted, self._note(size))
            if len(missing) < len(wanted):
                chosen.append(size)
            wanted = missing
        return sorted(chosen)

    def _not_by(self, cards: list[Card], note: bytes) -> list[Card]:
        """Return those of some parties who have not cosigned a checkpoint with each of their keys."""
        signed, checkpoint = SignedNote.parse(note), parse_checkpoint(note)
        return [card for card in cards if not has_cosigned(signed, checkpoint, card)]

    def _note(self, size: int) -> bytes:
        path = self._folder / CHECKPOINTS / str(size)
        try:
            with path.open("rb") as file:
                note = file.read(MAX_NOTE_BYTES)
        except OSError as error:
            raise AuditError(
                f"{path} cannot be read: {error.strerror or type(error).__name__}",
                mend="Check the disk and the permissions of the log's folder.",
                reason="log_unreadable",
            ) from error
        parse_checkpoint(note)
        return note


def _unwritable(path: Path, fault: str) -> InputError:
    return InputError(
        f"{path} cannot be written: {fault}",
        mend="Name another file, and check free space and permissions there.",
        reason="output_unwritable",
    )
