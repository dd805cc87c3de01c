"""The table of reasons: every way in which something ends, its class, exit code and log entries.

One table for the code, the logs and the documentation: docs/reasons.md is generated from it, and a
test holds it against every reason that the code raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.errors import (
    AuditError,
    AuthorisationError,
    CancellationError,
    ConfigError,
    ExitCode,
    InputError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED = "exchange.refused"
ABORTED = "exchange.aborted"
HELD = "exchange.held"
UNDELIVERED = "dataset.refused"

REFUSALS = (AuthorisationError, ProtocolError, VerificationError)
"""The classes of errors that refuse an offer."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, as one class of errors carries it.

    Attributes:
        code: the stable name.
        error: the class.
        entries: the types of the log entries that may record it; none where it ends nothing that the
            log tells of.
        sentence: what it means, for a person.
    """

    code: str
    error: type[PsishareError]
    entries: tuple[str, ...]
    sentence: str

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that ends for it."""
        return self.error.exit_code


def reason_of(error: PsishareError) -> Reason | None:
    """Return the table's row of an error, or None where a peer made the reason up."""
    return _BY_CODE_AND_CLASS.get((error.reason, type(error)))


def sentence_of(code: str) -> str:
    """Return what the reason of a refusal means, for a person."""
    return next(
        (r.sentence for r in REASONS if r.code == code and issubclass(r.error, AuthorisationError)),
        "",
    )


def is_refusal(error: PsishareError) -> bool:
    """Tell whether a platform that answers an offer with this error has refused it."""
    reason = reason_of(error)
    return reason is not None and REFUSED in reason.entries


def refusal_class(code: str) -> type[PsishareError]:
    """Return the class of errors that carries the reason of a refused offer."""
    found = [
        reason.error for reason in REASONS if reason.code == code and REFUSED in reason.entries
    ]
    return found[0] if found else AuthorisationError


def _rows(
    error: type[PsishareError], entries: tuple[str, ...], sentences: dict[str, str]
) -> Iterator[Reason]:
    for code, sentence in sentences.items():
        yield Reason(code, error, entries, sentence)


_OFFER_OR_DELIVERY = (REFUSED, UNDELIVERED)
_ANY_TIME = (REFUSED, UNDELIVERED, ABORTED)
_OFFER_OR_LATER = (REFUSED, ABORTED)

REASONS: tuple[Reason, ...] = (
    *_rows(
        AuthorisationError,
        _ANY_TIME,
        {
            "mandate_expired": "The mandate is no longer valid.",
            "mandate_issuer_untrusted": "The platform does not trust the mandate's issuer.",
            "mandate_revocations_stale": "The issuer's revocation list is missing or too old.",
            "mandate_revoked": "The mandate's issuer or validator has revoked it.",
            "mandate_superseded": "The mandate has been superseded by another.",
            "mandate_validation_overdue": "The emergency's validator has not signed in time.",
            "mandate_validator_untrusted": "The platform does not trust the mandate's validator.",
            "policy_emergency": "The platform's policy takes no mandate without its validator.",
            "policy_validator_role": "The validator's role does not suffice for the platform.",
        },
    ),
    *_rows(
        AuthorisationError,
        _OFFER_OR_LATER,
        {"sealed_request_differs": "What is asked is not what the mandate approves."},
    ),
    *_rows(
        AuthorisationError,
        _OFFER_OR_DELIVERY,
        {
            "dataset_revoked": "The platform has revoked the dataset.",
            "dataset_unknown": "No dataset of that name is served with that protocol.",
            "mandate_field_unsupported": "The mandate asks for a rule that is not enforced here.",
            "mandate_malformed": "The mandate or its envelope is not what its format demands.",
            "mandate_not_yet_valid": "The mandate is not valid yet.",
            "mandate_other_authority": "The mandate is for another authority.",
            "mandate_other_dataset": "The mandate does not name this dataset.",
            "mandate_other_kind": "The mandate does not allow this kind of identifier.",
            "mandate_other_platform": "The mandate is addressed to another platform.",
            "mandate_other_protocol": "The mandate does not allow this protocol.",
            "mandate_roles_not_distinct": "One party or one key is both issuer and validator.",
            "mandate_signature_invalid": "A signature of the mandate is wrong.",
            "mandate_signature_unknown": "The mandate holds a signature of some other key.",
            "mandate_unsigned": "The issuer's or the validator's signature is missing.",
            "mandate_version": "The mandate is of a version that is not read here.",
            "policy_authority": "The platform's policy does not let this authority ask.",
            "policy_dataset": "The platform's policy does not allow exchanges on this dataset.",
            "policy_emergency_authority": "The policy takes none of this authority's emergencies.",
            "policy_issuer": "The platform's policy takes no mandates of this issuer.",
            "policy_kind": "The platform's policy does not allow this kind.",
            "policy_protocol": "The platform's policy does not allow this protocol.",
            "policy_epoch_age": "The policy uses an epoch of a dataset no longer than this one has lasted.",
        },
    ),
    *_rows(
        AuthorisationError,
        (REFUSED,),
        {
            "approval_rejected": "A second operator of the platform has rejected the offer.",
            "approval_withdrawn": "Who approved the offer is trusted as an approver no more.",
            "budget_authority_exchanges": "The policy's exchanges of one authority a day are used up.",
            "budget_authority_rows": "The policy's rows of one authority a day do not suffice.",
            "budget_day_exchanges": "The policy's exchanges of one day are used up.",
            "budget_day_rows": "The policy's rows of one day do not suffice.",
            "budget_exchanges_exhausted": "All exchanges that the mandate allows have been opened.",
            "budget_kind_exchanges": "The policy's exchanges about one kind a day are used up.",
            "budget_kind_rows": "The policy's rows about one kind a day do not suffice.",
            "budget_mandate_exchanges": "The policy's exchanges under one mandate are used up.",
            "budget_mandate_rows": "The policy's rows under one mandate do not suffice.",
            "budget_rows_exhausted": "More rows are asked for than the mandate has left.",
            "clock_skew": "The offer's time is too far from the platform's clock.",
            "exchange_repeated": "This offer has been made before.",
            "kind_mismatch": "The dataset holds identifiers of another kind or namespace.",
            "mandate_mismatch": "The mandate sent is not the one that the offer names.",
            "mandate_other_output": "The mandate does not allow this output.",
            "mandate_over_rows": "More rows are asked for than the mandate allows in one exchange.",
            "not_authorised": "The platform refuses, for a reason that is not known here.",
            "output_unsupported": "The protocol cannot give this output.",
            "over_max_query": "More rows are asked for than may be in one exchange.",
            "peer_impersonation": "The caller speaks in another party's name.",
            "policy_emergency_rows": "The platform's policy allows fewer rows in an emergency.",
            "policy_list_not_approved": "The platform's policy takes approved lists only.",
            "policy_max_rows": "The platform's policy allows fewer rows in an exchange.",
            "policy_max_share": "The list is too large beside the dataset for the policy.",
            "policy_min_rows": "The platform's policy demands more rows in an exchange.",
            "policy_output": "The platform's policy does not allow this output.",
            "policy_outside_hours": "The platform's policy opens no exchange at this hour.",
            "ruleset_mismatch": "Both sides have another canonical form of this kind.",
            "ticket_expired": "The held offer was not approved, or not gone on with, in time.",
            "version_mismatch": "Both sides speak another version of the wire, or another suite.",
        },
    ),
    *_rows(
        AuthorisationError,
        _OFFER_OR_LATER,
        {"manifest_mismatch": "The dataset has another epoch than the one offered on."},
    ),
    *_rows(
        AuthorisationError,
        (HELD,),
        {"approval_required": "A second operator of the platform has to approve the offer."},
    ),
    *_rows(
        AuthorisationError,
        (UNDELIVERED,),
        {"mandate_not_standing": "The mandate covers no newer version of the dataset."},
    ),
    *_rows(
        AuthorisationError,
        (ABORTED,),
        {"peer_unknown": "The caller's certificate belongs to no pinned authority."},
    ),
    *_rows(
        AuthorisationError,
        (),
        {
            "approver_untrusted": "Who decides on a held offer is not trusted to, or is a party to it.",
            "mandate_signer_not_named": "The mandate does not name whoever is about to sign it.",
        },
    ),
    *_rows(
        ProtocolError,
        (REFUSED,),
        {"offer_misdirected": "The offer was made for another connection or platform."},
    ),
    *_rows(
        ProtocolError,
        (ABORTED,),
        {
            "answer_invalid": "The answer to the offer is malformed or wrongly signed.",
            "answer_misdirected": "The answer is not one to this offer.",
            "call_unknown": "The peer does not know a call of the wire.",
            "element_invalid": "An element is the identity or not canonically encoded.",
            "elements_out_of_order": "Elements do not come in strictly increasing order.",
            "exchange_ended": "A call came for an exchange that has ended.",
            "exchange_restored": "The platform has started again: ask it how far it has come.",
            "exchange_incomplete": "The exchange was to be closed before every frame had passed.",
            "exchange_unknown": "A call came for an exchange that does not exist.",
            "fault_malformed": "The peer's error message cannot be read.",
            "frame_changed": "A frame came again with other contents.",
            "frame_empty": "A frame holds no rows.",
            "frame_malformed": "A frame is not the Arrow record batch that was due.",
            "frame_out_of_order": "A frame came out of its turn.",
            "frame_over_offer": "A frame lies beyond the rows that were offered.",
            "frame_signature_invalid": "A frame is not signed by the authority.",
            "message_malformed": "A message is not spelt in the one canonical way.",
            "message_too_large": "A message is over 4 MiB.",
            "parcel_malformed": "A parcel is not what its format demands.",
            "peer_certificate": "The server is not the platform that its card describes.",
            "proof_invalid": "The proof of the evaluation, or the public key, is wrong.",
            "protocol_violated": "The peer broke the protocol.",
            "receipt_differs": "The receipt is not what the platform's record gives.",
            "receipt_invalid": "The receipt is malformed, or a signature of it is wrong.",
            "receipt_untimely": "The receipt's time is not between the opening and now.",
            "sequence_unknown": "A sequence of frames was asked for that the exchange lacks.",
            "transcript_differs": "A frame is not the one that its transcript was signed for.",
            "version_mismatch": "The platform speaks another version of the wire.",
        },
    ),
    *_rows(
        ProtocolError,
        (),
        {
            "manifest_invalid": "The dataset's manifest is not the platform's, or not published.",
            "parcel_damaged": "A parcel is not as it was sealed.",
            "parcel_expired": "A parcel came after its exchange had expired.",
            "parcel_misdirected": "A parcel was made for another party.",
            "parcel_signature_invalid": "A parcel is not signed by the party that it names.",
            "parcel_unexpected": "A parcel is of another kind than the one that is due.",
            "parcel_unopened": "A parcel does not open under this party's sealing key.",
            "shard_invalid": "A shard is not the encoding of fingerprints of its place.",
            "shard_unknown": "A shard was asked for that the manifest does not have.",
        },
    ),
    *_rows(
        VerificationError,
        _OFFER_OR_LATER,
        {
            "checkpoint_invalid": "A log's checkpoint lacks a valid signature.",
            "checkpoint_malformed": "A log's checkpoint is not what its format demands.",
            "document_malformed": "A document is not canonical, or its fields are wrong.",
            "key_malformed": "A public key is malformed.",
            "log_inconsistent": "A log's head does not extend the one seen before: it forked.",
            "log_key_retired": "A checkpoint is signed by keys that had been retired before.",
            "log_rolled_back": "A log's head is older than one seen before: it was restored.",
            "note_malformed": "A signed note is not what its format demands.",
            "proof_invalid": "A proof of inclusion or consistency is wrong.",
            "signature_invalid": "A signature is wrong.",
            "verification_failed": "Evidence does not verify.",
        },
    ),
    *_rows(
        VerificationError,
        (ABORTED,),
        {
            "closing_not_logged": "The peer's log does not hold the closing of this exchange.",
            "entry_malformed": "A log entry is not what its type demands.",
            "log_damaged": "What lies on the disk is not the log that was signed.",
        },
    ),
    *_rows(
        AuthorisationError,
        (),
        {
            "mandate_id_reused": "Two mandates have one id.",
        },
    ),
    *_rows(
        VerificationError,
        (),
        {
            "approval_invalid": "An approval is not the operator's word on the offer that was held.",
            "bundle_incomplete": "An evidence bundle lacks an entry that its scope has.",
            "bundle_malformed": "An evidence bundle is not what its format demands.",
            "commitment_differs": "A value and its salt are not what was committed to.",
            "replay_malformed": "A file of a dataset's replay is not what its format demands.",
            "proof_malformed": "A proof file is not what its format demands.",
            "quorum_missing": "A checkpoint lacks the witnesses that a policy demands.",
            "request_differs": "The mandate is not one for the request that was shown.",
            "revocations_future": "A revocation list is of a time that has not come.",
            "revocations_incomplete": "A revocation list lacks what the one before had.",
            "revocations_malformed": "A revocation list is not what its format demands.",
            "revocations_older": "A revocation list is not newer than the one that is held.",
            "revocations_untrusted": "A revocation list is of a party that is not trusted here.",
            "attachment_differs": "A paper is not the one that the mandate stands for.",
            "case_reference_differs": "The case reference is not the one committed to.",
            "cosignature_invalid": "A cosignature is missing or wrong.",
            "log_contradicts": "The log tells of an exchange what cannot be.",
            "log_head_outdated": "A head is from before the newest keys of its log that are known.",
            "log_keys_differ": "The log tells of other keys of its own than its party's card.",
            "log_rotation_invalid": "A log's keys do not follow one another as its entries say.",
            "mandate_mismatch": "A mandate is not the one that the log names.",
            "manifest_invalid": "A dataset's manifest is malformed.",
            "manifest_unpublished": "The platform's log names another manifest.",
            "receipt_invalid": "A receipt does not verify.",
            "shard_invalid": "A shard is not what the manifest says.",
            "stream_damaged": "A sealed file is not as it was sealed.",
            "unsealing_failed": "It was sealed to another key or for another purpose.",
        },
    ),
    *_rows(
        AuditError,
        (ABORTED,),
        {
            "audit_failed": "The log or the state of a party fails.",
            "checkpoint_unknown": "The log has no checkpoint of that size.",
            "entry_too_long": "An entry is longer than a log takes.",
            "log_busy": "Another process has held the log for too long.",
            "log_unreadable": "The log cannot be read.",
            "log_write_failed": "The log cannot be written: the disk is full or fails.",
            "state_write_failed": "The state cannot be written: the disk is full or fails.",
        },
    ),
    *_rows(
        AuditError,
        (),
        {
            "evidence_missing": "There is no evidence of that name.",
            "shred_failed": "The disk refuses to destroy a salt.",
            "bundle_unreadable": "An evidence bundle cannot be read.",
            "entry_unknown": "The log has no such entry.",
            "log_exists": "There is a log already where one was to be made.",
            "log_keys_unknown": "The log is signed by keys that are not in its home.",
            "log_missing": "There is no log.",
            "log_rolled_back": "The log's folder was restored from an old copy.",
            "log_elsewhere": "The log is written by another host.",
            "mandate_unreadable": "A mandate that the log names cannot be read.",
        },
    ),
    *_rows(
        PeerError,
        (ABORTED,),
        {
            "log_head_stale": "The logs' heads moved on at every try.",
            "peer_certificate": "The peer presents, or refuses, a certificate.",
            "peer_failed": "The peer failed and does not say how.",
        },
    ),
    *_rows(
        PeerError,
        (),
        {
            "witness_failed": "A witness answers what its protocol does not have.",
            "witness_refused": "A witness does not take this log.",
        },
    ),
    *_rows(
        TransportError,
        (),
        {
            "answer_awaited": "The answer is still to come, by the next parcel.",
            "witness_unreachable": "A witness does not answer.",
        },
    ),
    *_rows(
        TransportError,
        (ABORTED,),
        {
            "peer_certificate": "The peer hung up on our certificate, or the line was cut then.",
            "channel_closed": "The connection was closed on this side.",
            "peer_busy": "The peer has as much to do as it takes on; try again later.",
            "peer_silent": "The peer did not answer, or did not go on, in time.",
            "peer_stopping": "The peer is about to stop, and opens no exchange; try again later.",
            "peer_unreachable": "The peer cannot be reached.",
        },
    ),
    *_rows(
        InternalError,
        (ABORTED,),
        {
            "internal": "A fault of psishare itself.",
            "key_unusable": "A secret that was drawn gives no key; start again.",
            "message_not_encodable": "A message of ours cannot be encoded.",
            "message_too_large": "A message of ours is over 4 MiB.",
        },
    ),
    *_rows(
        CancellationError,
        (ABORTED,),
        {"cancelled": "Whoever had asked for the exchange stopped it."},
    ),
    *_rows(
        ConfigError,
        (ABORTED,),
        {
            "not_restorable": "A platform that started again lacks what the exchange was opened on.",
        },
    ),
    *_rows(
        InputError,
        (ABORTED,),
        {"input_invalid": "A value cannot be used: the row is named, never the value."},
    ),
    *_rows(
        InputError,
        (),
        {
            "commitment_unknown": "What is to be opened or shredded is not named rightly.",
            "parties_unrelated": "What is to be reconciled is not of an authority and a platform.",
            "replay_unsupported": "The elements of the protocol or of its version cannot be computed again.",
            "scope_empty": "The log has nothing of what is to be exported.",
            "scope_malformed": "A period, mandate or exchange is not named rightly.",
            "approval_repeated": "Somebody has decided on this held offer before.",
            "not_held": "The exchange does not wait for a decision.",
            "case_reference_invalid": "The case reference, or its file, cannot be used.",
            "change_contradicts": "An identifier is to be both added and removed.",
            "column_duplicated": "Two columns have one name.",
            "column_missing": "The table has no such column.",
            "column_not_text": "The key column does not hold text.",
            "column_not_writable": "A column's type cannot be written to this format.",
            "dataset_unfinished": "A copy of a dataset was begun in pieces of another size.",
            "expiry_invalid": "An exchange by files is to expire at a time that is not permitted.",
            "csv_malformed": "The CSV file is malformed; the row is named.",
            "dataset_differs": "The dataset is of another kind, namespace or canonical form.",
            "dataset_empty": "The list to encode has rows, and none holds an identifier of the kind.",
            "dataset_name_invalid": "The name cannot be a dataset's.",
            "delimiter_invalid": "The delimiter cannot be one.",
            "document_unwritable": "A document cannot hold such a value.",
            "encoding_invalid": "The text is not in its encoding; the row is named.",
            "encoding_unknown": "There is no such encoding.",
            "exchange_not_found": "This party has no such exchange.",
            "file_unreadable": "A file cannot be read.",
            "format_unknown": "The file's format is not known.",
            "address_unknown": "Where the platform listens was not said.",
            "exchange_finished": "The exchange has ended, or is about to.",
            "exchange_running": "Another process works on the exchange.",
            "input_changed": "The input changed while it was being used.",
            "input_unreadable": "The input cannot be read.",
            "key_malformed": "The key is not KIND=COLUMN.",
            "kind_unknown": "There is no such kind of identifier.",
            "memory_too_small": "The bound on memory is too small to encode in.",
            "mandate_invalid": "A field of the mandate to draft is not permitted.",
            "list_differs": "The list is not the one that the exchange was begun with.",
            "wire_version_differs": "The exchange was begun with another version of the wire.",
            "mandate_missing": "The mandate's file cannot be read.",
            "mandate_not_ours": "The mandate is of other parties than whoever would revoke it.",
            "list_not_approved": "The list is not the one that the mandate approves.",
            "request_empty": "The list to prepare holds no identifier.",
            "request_malformed": "A request's file is not what its format demands.",
            "request_too_large": "A sealed request has more frames than a mandate can hold.",
            "request_unseen": "The mandate approves a list that its validator was not shown.",
            "revocations_full": "A revocation list holds as many mandates as it can.",
            "namespace_invalid": "The namespace is not permitted.",
            "not_a_table": "The object is no Arrow table.",
            "output_exists": "The result file is there already.",
            "output_is_count": "Only the count was learnt; there are no rows to show.",
            "output_not_written": "The result cannot be written.",
            "output_unknown": "There is no such output.",
            "output_unsupported": "The protocol cannot give this output; nothing was asked.",
            "output_unwritable": "The file cannot be written.",
            "over_max_query": "The protocol takes fewer rows.",
            "over_n_max": "The dataset's parameters allow fewer items.",
            "arrow_malformed": "The Arrow file or stream is malformed.",
            "jsonl_malformed": "A line is not the JSON object that the first one promises.",
            "compression_malformed": "The file cannot be decompressed to its end.",
            "schema_differs": "The files of one list have different columns.",
            "parquet_malformed": "The Parquet file is malformed.",
            "protocol_unknown": "There is no such protocol.",
            "region_unknown": "There is no such region.",
            "region_unused": "This kind of identifier has no region.",
            "table_empty": "The table has no columns.",
        },
    ),
    *_rows(
        ConfigError,
        (),
        {
            "commitment_shredded": "The salt of a commitment has been destroyed.",
            "opening_missing": "An opening or a case reference is not kept here.",
            "policy_malformed": "A policy of witnesses is not what its format demands.",
            "address_invalid": "The address is not host:port.",
            "address_unusable": "The address cannot be listened on.",
            "card_changed": "The card differs from the pinned one.",
            "card_malformed": "The card is not what its format demands.",
            "card_missing": "A card that is needed was not given.",
            "card_signature_invalid": "The card is not signed by its own key.",
            "card_version": "The card is of a version that is not read here.",
            "certificate_invalid": "A certificate in a card is unfit.",
            "certificate_missing": "No certificate of the peer is pinned.",
            "certificate_unfit": "A certificate is not fit for the transport.",
            "certificate_unreadable": "A certificate cannot be read.",
            "config_invalid": "A file of this party cannot be written or is not as it must be.",
            "core_dumps_allowed": "The system does not let the process forbid core dumps.",
            "dataset_busy": "Another process is changing the dataset.",
            "dataset_replaced": "The copy of a dataset is another than the one that was asked about.",
            "dataset_retired": "The key of this epoch is destroyed, or the epoch revoked.",
            "dataset_unknown": "There is no such dataset.",
            "dataset_unreadable": "A file of the dataset cannot be read.",
            "dataset_unwritable": "The dataset, or its copy, cannot be written.",
            "fingerprint_malformed": "The fingerprint is not twelve words of the list.",
            "fingerprint_mismatch": "The card's key has another fingerprint.",
            "fingerprint_missing": "The fingerprint has to be given.",
            "home_exists": "There is a home folder already.",
            "home_exposed": "Others can read the home folder.",
            "home_invalid": "The home folder is not as it must be.",
            "home_missing": "There is no home folder.",
            "home_unwritable": "The home folder cannot be written.",
            "home_version": "The home folder is of another version.",
            "key_file_exists": "There is a key file already.",
            "key_file_exposed": "Others can read a key file.",
            "key_file_malformed": "A key file is not what its format demands.",
            "key_file_missing": "A key file is missing.",
            "key_file_unreadable": "A key file cannot be read.",
            "key_file_unprotected": "A key file lies in the clear beside a lock.",
            "key_file_unwritable": "A key file cannot be written.",
            "key_malformed": "A key is malformed.",
            "key_mismatch": "A key is not the one that a card or manifest names.",
            "lock_missing": "A key file is encrypted, and its home has no lock.",
            "ml_dsa_missing": "The cryptographic library lacks ML-DSA.",
            "ml_kem_missing": "The cryptographic library lacks ML-KEM.",
            "nothing_to_serve": "Nothing was named that could be served.",
            "openmined_missing": "The package openmined-psi is not installed.",
            "party_invalid": "The party's id, role or name is not permitted.",
            "passphrase_mismatch": "The passphrase was typed differently the second time.",
            "passphrase_missing": "There is neither a passphrase nor a terminal to ask for it.",
            "passphrase_unfit": "The passphrase is too short, too long, or holds a control character.",
            "passphrase_wrong": "The passphrase does not open the home.",
            "peer_key_shared": "Another peer has this key or certificate.",
            "peer_revoked": "The party was revoked here.",
            "peer_unknown": "The party is not pinned here.",
            "peers_invalid": "A file in the folder of peers is not as it must be.",
            "peers_unwritable": "The folder of peers cannot be changed.",
            "pinned_unreadable": "The pinned certificates cannot be read.",
            "policy_invalid": "The policy file is not valid.",
            "request_missing": "The list that a mandate approves was not prepared here.",
            "request_not_for_us": "A request is not sealed to this party.",
            "revocations_unreadable": "A revocation list that is held cannot be read.",
            "metrics_not_loopback": "Health and metrics were to be answered for other machines.",
            "settings_invalid": "A setting in party.toml is unknown or wrong; it is named.",
            "witness_missing": "No witness of the policy has a URL.",
            "log_key_reused": "A signer's key has signed for the log already.",
            "log_rotation_missing": "One pair of keys alone signs the log: there is no overlap to end.",
            "log_rotation_pending": "Two pairs of keys sign the log already.",
            "log_rotation_unfinished": "The card does not name yet which keys the log tells of.",
            "log_rotation_spent": "The card names as many pairs of its log's keys as it can.",
            "renewal_missing": "The card names no next certificate that is valid now.",
            "renewal_pending": "The card names a next certificate already.",
            "role_unfit": "The home folder is of a party of another role.",
            "signer_failed": "A signer that keeps a key elsewhere failed.",
            "signer_unknown": "No installed package, or more than one, offers this signer.",
            "signers_invalid": "The file that says where log keys are is not valid.",
            "state_invalid": "The state file is damaged.",
            "state_version": "The state file is of another version.",
            "succession_invalid": "A party's pinned key does not vouch for this successor.",
            "tls_identity_expired": "This party's TLS certificate has expired.",
            "tls_identity_invalid": "This party's TLS certificate is unfit.",
            "tls_identity_not_yet_valid": "This party's TLS certificate is not valid yet.",
            "tls_key_invalid": "This party's TLS key does not fit its certificate.",
            "trust_unknown": "A peer cannot be trusted as that.",
            "word_list_damaged": "The installed list of fingerprint words is damaged.",
        },
    ),
)

_BY_CODE_AND_CLASS = {(reason.code, reason.error): reason for reason in REASONS}

ENDINGS = {
    "abandoned": "This party gave the exchange up before it had ended.",
    "interrupted": "The process that ran the exchange ended or was stopped.",
    "peer_aborted": "The other party aborted the exchange.",
}
"""Reasons of ``exchange.aborted`` that no error carries."""

CLOSE_REFUSALS = frozenset(
    {
        "exchange_ended",
        "exchange_incomplete",
        "exchange_unknown",
        "receipt_differs",
        "receipt_invalid",
        "receipt_untimely",
    }
)
"""Reasons with which a platform that has not closed an exchange answers ``Close``."""


def recorded(error: PsishareError) -> str:
    """Return the reason under which the log records an error: a row's of this table, always.

    A peer may send any word as its reason; one that is not known here is the class's own.
    """
    return error.reason if reason_of(error) else type(error).default_reason
