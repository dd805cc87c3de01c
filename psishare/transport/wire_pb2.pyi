from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Sequence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEQUENCE_UNSPECIFIED: _ClassVar[Sequence]
    SEQUENCE_ELEMENTS: _ClassVar[Sequence]
    SEQUENCE_ANSWERS: _ClassVar[Sequence]
SEQUENCE_UNSPECIFIED: Sequence
SEQUENCE_ELEMENTS: Sequence
SEQUENCE_ANSWERS: Sequence

class Signed(_message.Message):
    __slots__ = ("document", "signature")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    signature: bytes
    def __init__(self, document: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class LogHead(_message.Message):
    __slots__ = ("checkpoint", "consistency", "since")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    consistency: _containers.RepeatedScalarFieldContainer[bytes]
    since: int
    def __init__(self, checkpoint: _Optional[bytes] = ..., consistency: _Optional[_Iterable[bytes]] = ..., since: _Optional[int] = ...) -> None: ...

class Cosignature(_message.Message):
    __slots__ = ("lines", "tree_size")
    LINES_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    lines: bytes
    tree_size: int
    def __init__(self, lines: _Optional[bytes] = ..., tree_size: _Optional[int] = ...) -> None: ...

class HelloRequest(_message.Message):
    __slots__ = ("authority", "wire_versions")
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    WIRE_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    authority: str
    wire_versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, authority: _Optional[str] = ..., wire_versions: _Optional[_Iterable[int]] = ...) -> None: ...

class HelloResponse(_message.Message):
    __slots__ = ("platform", "wire_versions", "certificate_sha256", "known_tree_size", "datasets")
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    WIRE_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    KNOWN_TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    platform: str
    wire_versions: _containers.RepeatedScalarFieldContainer[int]
    certificate_sha256: bytes
    known_tree_size: int
    datasets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, platform: _Optional[str] = ..., wire_versions: _Optional[_Iterable[int]] = ..., certificate_sha256: _Optional[bytes] = ..., known_tree_size: _Optional[int] = ..., datasets: _Optional[_Iterable[str]] = ...) -> None: ...

class ManifestRequest(_message.Message):
    __slots__ = ("dataset", "mandate", "known_tree_size")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    MANDATE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    mandate: bytes
    known_tree_size: int
    def __init__(self, dataset: _Optional[str] = ..., mandate: _Optional[bytes] = ..., known_tree_size: _Optional[int] = ...) -> None: ...

class ManifestResponse(_message.Message):
    __slots__ = ("manifest", "head", "published_index", "published_entry", "inclusion")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_INDEX_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_ENTRY_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_FIELD_NUMBER: _ClassVar[int]
    manifest: Signed
    head: LogHead
    published_index: int
    published_entry: bytes
    inclusion: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, manifest: _Optional[_Union[Signed, _Mapping]] = ..., head: _Optional[_Union[LogHead, _Mapping]] = ..., published_index: _Optional[int] = ..., published_entry: _Optional[bytes] = ..., inclusion: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ShardRequest(_message.Message):
    __slots__ = ("dataset", "mandate", "manifest_sha256", "shard", "offset")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    MANDATE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    mandate: bytes
    manifest_sha256: bytes
    shard: int
    offset: int
    def __init__(self, dataset: _Optional[str] = ..., mandate: _Optional[bytes] = ..., manifest_sha256: _Optional[bytes] = ..., shard: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class ShardResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class OfferRequest(_message.Message):
    __slots__ = ("offer", "mandate", "head", "known_tree_size")
    OFFER_FIELD_NUMBER: _ClassVar[int]
    MANDATE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    KNOWN_TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    offer: Signed
    mandate: bytes
    head: LogHead
    known_tree_size: int
    def __init__(self, offer: _Optional[_Union[Signed, _Mapping]] = ..., mandate: _Optional[bytes] = ..., head: _Optional[_Union[LogHead, _Mapping]] = ..., known_tree_size: _Optional[int] = ...) -> None: ...

class OfferResponse(_message.Message):
    __slots__ = ("answer", "head", "hold")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    answer: Signed
    head: LogHead
    hold: Signed
    def __init__(self, answer: _Optional[_Union[Signed, _Mapping]] = ..., head: _Optional[_Union[LogHead, _Mapping]] = ..., hold: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("exchange_id", "index", "transcript", "signature", "batch")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    index: int
    transcript: bytes
    signature: bytes
    batch: bytes
    def __init__(self, exchange_id: _Optional[bytes] = ..., index: _Optional[int] = ..., transcript: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., batch: _Optional[bytes] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("exchange_id", "sequence", "index")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    sequence: Sequence
    index: int
    def __init__(self, exchange_id: _Optional[bytes] = ..., sequence: _Optional[_Union[Sequence, str]] = ..., index: _Optional[int] = ...) -> None: ...

class FrameResponse(_message.Message):
    __slots__ = ("batch", "proof", "pending")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    batch: bytes
    proof: bytes
    pending: bool
    def __init__(self, batch: _Optional[bytes] = ..., proof: _Optional[bytes] = ..., pending: bool = ...) -> None: ...

class ReturnRequest(_message.Message):
    __slots__ = ("exchange_id", "index", "transcript", "signature", "batch")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    index: int
    transcript: bytes
    signature: bytes
    batch: bytes
    def __init__(self, exchange_id: _Optional[bytes] = ..., index: _Optional[int] = ..., transcript: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., batch: _Optional[bytes] = ...) -> None: ...

class ReturnResponse(_message.Message):
    __slots__ = ("pending",)
    PENDING_FIELD_NUMBER: _ClassVar[int]
    pending: bool
    def __init__(self, pending: bool = ...) -> None: ...

class CloseRequest(_message.Message):
    __slots__ = ("exchange_id", "receipt", "known_tree_size")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    KNOWN_TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    receipt: Signed
    known_tree_size: int
    def __init__(self, exchange_id: _Optional[bytes] = ..., receipt: _Optional[_Union[Signed, _Mapping]] = ..., known_tree_size: _Optional[int] = ...) -> None: ...

class CloseResponse(_message.Message):
    __slots__ = ("countersignature", "closed_entry", "closed_index", "inclusion", "head")
    COUNTERSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CLOSED_ENTRY_FIELD_NUMBER: _ClassVar[int]
    CLOSED_INDEX_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    countersignature: bytes
    closed_entry: bytes
    closed_index: int
    inclusion: _containers.RepeatedScalarFieldContainer[bytes]
    head: LogHead
    def __init__(self, countersignature: _Optional[bytes] = ..., closed_entry: _Optional[bytes] = ..., closed_index: _Optional[int] = ..., inclusion: _Optional[_Iterable[bytes]] = ..., head: _Optional[_Union[LogHead, _Mapping]] = ...) -> None: ...

class CosignRequest(_message.Message):
    __slots__ = ("exchange_id", "head", "closed_entry", "closed_index", "inclusion", "cosignature", "cosigned_size")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    CLOSED_ENTRY_FIELD_NUMBER: _ClassVar[int]
    CLOSED_INDEX_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    COSIGNED_SIZE_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    head: LogHead
    closed_entry: bytes
    closed_index: int
    inclusion: _containers.RepeatedScalarFieldContainer[bytes]
    cosignature: bytes
    cosigned_size: int
    def __init__(self, exchange_id: _Optional[bytes] = ..., head: _Optional[_Union[LogHead, _Mapping]] = ..., closed_entry: _Optional[bytes] = ..., closed_index: _Optional[int] = ..., inclusion: _Optional[_Iterable[bytes]] = ..., cosignature: _Optional[bytes] = ..., cosigned_size: _Optional[int] = ...) -> None: ...

class CosignResponse(_message.Message):
    __slots__ = ("cosignature",)
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    cosignature: bytes
    def __init__(self, cosignature: _Optional[bytes] = ...) -> None: ...

class AbortRequest(_message.Message):
    __slots__ = ("exchange_id", "reason")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    reason: str
    def __init__(self, exchange_id: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class AbortResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("exchange_id",)
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    def __init__(self, exchange_id: _Optional[bytes] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("requests", "transcript", "answered")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    requests: int
    transcript: bytes
    answered: int
    def __init__(self, requests: _Optional[int] = ..., transcript: _Optional[bytes] = ..., answered: _Optional[int] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("error", "reason", "message", "mend")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MEND_FIELD_NUMBER: _ClassVar[int]
    error: str
    reason: str
    message: str
    mend: str
    def __init__(self, error: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., mend: _Optional[str] = ...) -> None: ...
