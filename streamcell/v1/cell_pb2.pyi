from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LaneRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_ROLE_UNSPECIFIED: _ClassVar[LaneRole]
    LANE_ROLE_CONTROL: _ClassVar[LaneRole]
    LANE_ROLE_BULK: _ClassVar[LaneRole]

class StreamKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_KIND_UNSPECIFIED: _ClassVar[StreamKind]
    STREAM_KIND_STREAM: _ClassVar[StreamKind]
    STREAM_KIND_BLOB: _ClassVar[StreamKind]
    STREAM_KIND_REQUEST: _ClassVar[StreamKind]
    STREAM_KIND_REPLY: _ClassVar[StreamKind]

class LostReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOST_REASON_UNSPECIFIED: _ClassVar[LostReason]
    LOST_REASON_LANE_LOST: _ClassVar[LostReason]
    LOST_REASON_NO_ROUTE: _ClassVar[LostReason]
    LOST_REASON_UNKNOWN_HERE: _ClassVar[LostReason]
    LOST_REASON_CORRUPT: _ClassVar[LostReason]
    LOST_REASON_OTHER_LIFE: _ClassVar[LostReason]
    LOST_REASON_LIMIT: _ClassVar[LostReason]
    LOST_REASON_REFUSED: _ClassVar[LostReason]
    LOST_REASON_NO_SESSION: _ClassVar[LostReason]

class ErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_CODE_UNSPECIFIED: _ClassVar[ErrorCode]
    ERROR_CODE_INTERNAL: _ClassVar[ErrorCode]
    ERROR_CODE_PROTOCOL: _ClassVar[ErrorCode]
    ERROR_CODE_USAGE: _ClassVar[ErrorCode]
    ERROR_CODE_UNREACHABLE: _ClassVar[ErrorCode]
    ERROR_CODE_CANCELLED: _ClassVar[ErrorCode]
    ERROR_CODE_TIMEOUT: _ClassVar[ErrorCode]
    ERROR_CODE_TOO_LARGE: _ClassVar[ErrorCode]
    ERROR_CODE_REJECTED: _ClassVar[ErrorCode]
    ERROR_CODE_NO_CALLBACK: _ClassVar[ErrorCode]
    ERROR_CODE_INTEGRITY: _ClassVar[ErrorCode]
    ERROR_CODE_RESUME: _ClassVar[ErrorCode]
    ERROR_CODE_OUTCOME_UNKNOWN: _ClassVar[ErrorCode]
    ERROR_CODE_STALE: _ClassVar[ErrorCode]
    ERROR_CODE_NAME_IN_USE: _ClassVar[ErrorCode]
    ERROR_CODE_AUTHENTICATION: _ClassVar[ErrorCode]
    ERROR_CODE_VERSION: _ClassVar[ErrorCode]
    ERROR_CODE_LIMIT: _ClassVar[ErrorCode]
    ERROR_CODE_SOURCE: _ClassVar[ErrorCode]
    ERROR_CODE_STOPPING: _ClassVar[ErrorCode]
    ERROR_CODE_REQUEST_FAILED: _ClassVar[ErrorCode]

class Fault(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAULT_UNSPECIFIED: _ClassVar[Fault]
    FAULT_ORIGIN: _ClassVar[Fault]
    FAULT_TARGET: _ClassVar[Fault]
    FAULT_NETWORK: _ClassVar[Fault]

class HolderAnswer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOLDER_ANSWER_UNSPECIFIED: _ClassVar[HolderAnswer]
    HOLDER_ANSWER_HERE: _ClassVar[HolderAnswer]
    HOLDER_ANSWER_MOVED: _ClassVar[HolderAnswer]
    HOLDER_ANSWER_GONE: _ClassVar[HolderAnswer]
LANE_ROLE_UNSPECIFIED: LaneRole
LANE_ROLE_CONTROL: LaneRole
LANE_ROLE_BULK: LaneRole
STREAM_KIND_UNSPECIFIED: StreamKind
STREAM_KIND_STREAM: StreamKind
STREAM_KIND_BLOB: StreamKind
STREAM_KIND_REQUEST: StreamKind
STREAM_KIND_REPLY: StreamKind
LOST_REASON_UNSPECIFIED: LostReason
LOST_REASON_LANE_LOST: LostReason
LOST_REASON_NO_ROUTE: LostReason
LOST_REASON_UNKNOWN_HERE: LostReason
LOST_REASON_CORRUPT: LostReason
LOST_REASON_OTHER_LIFE: LostReason
LOST_REASON_LIMIT: LostReason
LOST_REASON_REFUSED: LostReason
LOST_REASON_NO_SESSION: LostReason
ERROR_CODE_UNSPECIFIED: ErrorCode
ERROR_CODE_INTERNAL: ErrorCode
ERROR_CODE_PROTOCOL: ErrorCode
ERROR_CODE_USAGE: ErrorCode
ERROR_CODE_UNREACHABLE: ErrorCode
ERROR_CODE_CANCELLED: ErrorCode
ERROR_CODE_TIMEOUT: ErrorCode
ERROR_CODE_TOO_LARGE: ErrorCode
ERROR_CODE_REJECTED: ErrorCode
ERROR_CODE_NO_CALLBACK: ErrorCode
ERROR_CODE_INTEGRITY: ErrorCode
ERROR_CODE_RESUME: ErrorCode
ERROR_CODE_OUTCOME_UNKNOWN: ErrorCode
ERROR_CODE_STALE: ErrorCode
ERROR_CODE_NAME_IN_USE: ErrorCode
ERROR_CODE_AUTHENTICATION: ErrorCode
ERROR_CODE_VERSION: ErrorCode
ERROR_CODE_LIMIT: ErrorCode
ERROR_CODE_SOURCE: ErrorCode
ERROR_CODE_STOPPING: ErrorCode
ERROR_CODE_REQUEST_FAILED: ErrorCode
FAULT_UNSPECIFIED: Fault
FAULT_ORIGIN: Fault
FAULT_TARGET: Fault
FAULT_NETWORK: Fault
HOLDER_ANSWER_UNSPECIFIED: HolderAnswer
HOLDER_ANSWER_HERE: HolderAnswer
HOLDER_ANSWER_MOVED: HolderAnswer
HOLDER_ANSWER_GONE: HolderAnswer

class ExchangeRequest(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    def __init__(self, frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ...) -> None: ...

class ExchangeResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    def __init__(self, frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("hello", "lanes_wanted", "announce", "announce_reply", "withdraw", "chunk", "credit", "ack", "lost", "reset", "resume_query", "resume_reply", "query", "query_reply", "ping", "pong", "goodbye", "handshake")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LANES_WANTED_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCE_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCE_REPLY_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    RESUME_QUERY_FIELD_NUMBER: _ClassVar[int]
    RESUME_REPLY_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    QUERY_REPLY_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HANDSHAKE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    lanes_wanted: LanesWanted
    announce: Announce
    announce_reply: AnnounceReply
    withdraw: Withdraw
    chunk: Chunk
    credit: Credit
    ack: Ack
    lost: Lost
    reset: Reset
    resume_query: ResumeQuery
    resume_reply: ResumeReply
    query: Query
    query_reply: QueryReply
    ping: Ping
    pong: Pong
    goodbye: Goodbye
    handshake: Handshake
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., lanes_wanted: _Optional[_Union[LanesWanted, _Mapping]] = ..., announce: _Optional[_Union[Announce, _Mapping]] = ..., announce_reply: _Optional[_Union[AnnounceReply, _Mapping]] = ..., withdraw: _Optional[_Union[Withdraw, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., lost: _Optional[_Union[Lost, _Mapping]] = ..., reset: _Optional[_Union[Reset, _Mapping]] = ..., resume_query: _Optional[_Union[ResumeQuery, _Mapping]] = ..., resume_reply: _Optional[_Union[ResumeReply, _Mapping]] = ..., query: _Optional[_Union[Query, _Mapping]] = ..., query_reply: _Optional[_Union[QueryReply, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., handshake: _Optional[_Union[Handshake, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version_min", "version_max", "fqcn", "incarnation", "link_id", "lane_number", "lane_role", "lanes_held", "capabilities", "limits", "initial_credit", "peer", "software", "lanes_replaced", "claim_id")
    VERSION_MIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAX_FIELD_NUMBER: _ClassVar[int]
    FQCN_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LINK_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    LANE_ROLE_FIELD_NUMBER: _ClassVar[int]
    LANES_HELD_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_CREDIT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    LANES_REPLACED_FIELD_NUMBER: _ClassVar[int]
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    version_min: int
    version_max: int
    fqcn: str
    incarnation: int
    link_id: bytes
    lane_number: int
    lane_role: LaneRole
    lanes_held: _containers.RepeatedScalarFieldContainer[int]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    limits: Limits
    initial_credit: int
    peer: bool
    software: str
    lanes_replaced: _containers.RepeatedScalarFieldContainer[int]
    claim_id: int
    def __init__(self, version_min: _Optional[int] = ..., version_max: _Optional[int] = ..., fqcn: _Optional[str] = ..., incarnation: _Optional[int] = ..., link_id: _Optional[bytes] = ..., lane_number: _Optional[int] = ..., lane_role: _Optional[_Union[LaneRole, str]] = ..., lanes_held: _Optional[_Iterable[int]] = ..., capabilities: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., initial_credit: _Optional[int] = ..., peer: bool = ..., software: _Optional[str] = ..., lanes_replaced: _Optional[_Iterable[int]] = ..., claim_id: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("message_bytes", "lanes", "max_idle_timeout_s")
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    MAX_IDLE_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    message_bytes: int
    lanes: int
    max_idle_timeout_s: float
    def __init__(self, message_bytes: _Optional[int] = ..., lanes: _Optional[int] = ..., max_idle_timeout_s: _Optional[float] = ...) -> None: ...

class LanesWanted(_message.Message):
    __slots__ = ("bulk_lanes",)
    BULK_LANES_FIELD_NUMBER: _ClassVar[int]
    bulk_lanes: int
    def __init__(self, bulk_lanes: _Optional[int] = ...) -> None: ...

class Announce(_message.Message):
    __slots__ = ("fqcn", "incarnation", "epoch", "path", "software", "address")
    FQCN_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    fqcn: str
    incarnation: int
    epoch: int
    path: _containers.RepeatedScalarFieldContainer[str]
    software: str
    address: str
    def __init__(self, fqcn: _Optional[str] = ..., incarnation: _Optional[int] = ..., epoch: _Optional[int] = ..., path: _Optional[_Iterable[str]] = ..., software: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class AnnounceReply(_message.Message):
    __slots__ = ("fqcn", "incarnation", "epoch", "code", "sentence", "withdrawn", "wait")
    FQCN_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    fqcn: str
    incarnation: int
    epoch: int
    code: ErrorCode
    sentence: str
    withdrawn: bool
    wait: bool
    def __init__(self, fqcn: _Optional[str] = ..., incarnation: _Optional[int] = ..., epoch: _Optional[int] = ..., code: _Optional[_Union[ErrorCode, str]] = ..., sentence: _Optional[str] = ..., withdrawn: bool = ..., wait: bool = ...) -> None: ...

class Withdraw(_message.Message):
    __slots__ = ("fqcn", "incarnation", "epoch")
    FQCN_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    fqcn: str
    incarnation: int
    epoch: int
    def __init__(self, fqcn: _Optional[str] = ..., incarnation: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class StreamRef(_message.Message):
    __slots__ = ("origin", "origin_incarnation", "target", "stream_id", "attempt")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    origin: str
    origin_incarnation: int
    target: str
    stream_id: int
    attempt: int
    def __init__(self, origin: _Optional[str] = ..., origin_incarnation: _Optional[int] = ..., target: _Optional[str] = ..., stream_id: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class HeaderValue(_message.Message):
    __slots__ = ("text", "integer", "real", "flag", "raw")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    text: str
    integer: int
    real: float
    flag: bool
    raw: bytes
    def __init__(self, text: _Optional[str] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., flag: bool = ..., raw: _Optional[bytes] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: HeaderValue
    def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[HeaderValue, _Mapping]] = ...) -> None: ...

class IdRun(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("kind", "size", "headers", "idle_timeout_s", "settled_below", "settled", "seen_before", "resume_id", "source_stamp", "digest", "digest_follows", "reply_to", "reply_code", "reply_sentence", "no_reply", "sealing_envelope", "reply_to_incarnation", "awaits_offset", "target_incarnation", "traceparent")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    SETTLED_BELOW_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    SEEN_BEFORE_FIELD_NUMBER: _ClassVar[int]
    RESUME_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_STAMP_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    REPLY_CODE_FIELD_NUMBER: _ClassVar[int]
    REPLY_SENTENCE_FIELD_NUMBER: _ClassVar[int]
    NO_REPLY_FIELD_NUMBER: _ClassVar[int]
    SEALING_ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    AWAITS_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TARGET_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    kind: StreamKind
    size: int
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    idle_timeout_s: float
    settled_below: int
    settled: _containers.RepeatedCompositeFieldContainer[IdRun]
    seen_before: bool
    resume_id: str
    source_stamp: bytes
    digest: str
    digest_follows: bool
    reply_to: int
    reply_code: ErrorCode
    reply_sentence: str
    no_reply: bool
    sealing_envelope: bytes
    reply_to_incarnation: int
    awaits_offset: bool
    target_incarnation: int
    traceparent: str
    def __init__(self, kind: _Optional[_Union[StreamKind, str]] = ..., size: _Optional[int] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., idle_timeout_s: _Optional[float] = ..., settled_below: _Optional[int] = ..., settled: _Optional[_Iterable[_Union[IdRun, _Mapping]]] = ..., seen_before: bool = ..., resume_id: _Optional[str] = ..., source_stamp: _Optional[bytes] = ..., digest: _Optional[str] = ..., digest_follows: bool = ..., reply_to: _Optional[int] = ..., reply_code: _Optional[_Union[ErrorCode, str]] = ..., reply_sentence: _Optional[str] = ..., no_reply: bool = ..., sealing_envelope: _Optional[bytes] = ..., reply_to_incarnation: _Optional[int] = ..., awaits_offset: bool = ..., target_incarnation: _Optional[int] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("session_id", "proof")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    proof: bytes
    def __init__(self, session_id: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("stream", "channel", "topic", "sequence", "offset", "last", "hops_left", "checksum", "open", "digest", "seal", "payload")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    stream: StreamRef
    channel: str
    topic: str
    sequence: int
    offset: int
    last: bool
    hops_left: int
    checksum: int
    open: Open
    digest: str
    seal: Seal
    payload: bytes
    def __init__(self, stream: _Optional[_Union[StreamRef, _Mapping]] = ..., channel: _Optional[str] = ..., topic: _Optional[str] = ..., sequence: _Optional[int] = ..., offset: _Optional[int] = ..., last: bool = ..., hops_left: _Optional[int] = ..., checksum: _Optional[int] = ..., open: _Optional[_Union[Open, _Mapping]] = ..., digest: _Optional[str] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("stream", "offset")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    stream: StreamRef
    offset: int
    def __init__(self, stream: _Optional[_Union[StreamRef, _Mapping]] = ..., offset: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("stream", "target_incarnation", "received", "consumed", "complete", "hops_left", "seal")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    CONSUMED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    stream: StreamRef
    target_incarnation: int
    received: int
    consumed: int
    complete: bool
    hops_left: int
    seal: Seal
    def __init__(self, stream: _Optional[_Union[StreamRef, _Mapping]] = ..., target_incarnation: _Optional[int] = ..., received: _Optional[int] = ..., consumed: _Optional[int] = ..., complete: bool = ..., hops_left: _Optional[int] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ...) -> None: ...

class Lost(_message.Message):
    __slots__ = ("stream", "reason", "reporter", "hops_left", "sentence", "seal")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPORTER_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    stream: StreamRef
    reason: LostReason
    reporter: str
    hops_left: int
    sentence: str
    seal: Seal
    def __init__(self, stream: _Optional[_Union[StreamRef, _Mapping]] = ..., reason: _Optional[_Union[LostReason, str]] = ..., reporter: _Optional[str] = ..., hops_left: _Optional[int] = ..., sentence: _Optional[str] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ...) -> None: ...

class Reset(_message.Message):
    __slots__ = ("stream", "from_target", "code", "fault", "sentence", "hops_left", "seal")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FROM_TARGET_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    stream: StreamRef
    from_target: bool
    code: ErrorCode
    fault: Fault
    sentence: str
    hops_left: int
    seal: Seal
    def __init__(self, stream: _Optional[_Union[StreamRef, _Mapping]] = ..., from_target: bool = ..., code: _Optional[_Union[ErrorCode, str]] = ..., fault: _Optional[_Union[Fault, str]] = ..., sentence: _Optional[str] = ..., hops_left: _Optional[int] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ...) -> None: ...

class ResumeQuery(_message.Message):
    __slots__ = ("stream", "probe", "resume_id", "source_stamp", "digest", "hops_left", "settled_below", "settled", "seal")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    RESUME_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_STAMP_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SETTLED_BELOW_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    stream: StreamRef
    probe: bool
    resume_id: str
    source_stamp: bytes
    digest: str
    hops_left: int
    settled_below: int
    settled: _containers.RepeatedCompositeFieldContainer[IdRun]
    seal: Seal
    def __init__(self, stream: _Optional[_Union[StreamRef, _Mapping]] = ..., probe: bool = ..., resume_id: _Optional[str] = ..., source_stamp: _Optional[bytes] = ..., digest: _Optional[str] = ..., hops_left: _Optional[int] = ..., settled_below: _Optional[int] = ..., settled: _Optional[_Iterable[_Union[IdRun, _Mapping]]] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ...) -> None: ...

class ResumeReply(_message.Message):
    __slots__ = ("stream", "target_incarnation", "unknown", "offset", "prefix_digest", "probe", "hops_left", "seal")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PREFIX_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    stream: StreamRef
    target_incarnation: int
    unknown: bool
    offset: int
    prefix_digest: str
    probe: bool
    hops_left: int
    seal: Seal
    def __init__(self, stream: _Optional[_Union[StreamRef, _Mapping]] = ..., target_incarnation: _Optional[int] = ..., unknown: bool = ..., offset: _Optional[int] = ..., prefix_digest: _Optional[str] = ..., probe: bool = ..., hops_left: _Optional[int] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("query_id", "asker", "subject", "trace", "hops_left", "prefix", "limit", "after", "contested", "claim_id")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    ASKER_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    CONTESTED_FIELD_NUMBER: _ClassVar[int]
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    asker: str
    subject: str
    trace: bool
    hops_left: int
    prefix: str
    limit: int
    after: str
    contested: bool
    claim_id: int
    def __init__(self, query_id: _Optional[int] = ..., asker: _Optional[str] = ..., subject: _Optional[str] = ..., trace: bool = ..., hops_left: _Optional[int] = ..., prefix: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[str] = ..., contested: bool = ..., claim_id: _Optional[int] = ...) -> None: ...

class CellInfo(_message.Message):
    __slots__ = ("fqcn", "incarnation", "via", "address", "software", "known_for_s", "identity")
    FQCN_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FOR_S_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    fqcn: str
    incarnation: int
    via: str
    address: str
    software: str
    known_for_s: float
    identity: str
    def __init__(self, fqcn: _Optional[str] = ..., incarnation: _Optional[int] = ..., via: _Optional[str] = ..., address: _Optional[str] = ..., software: _Optional[str] = ..., known_for_s: _Optional[float] = ..., identity: _Optional[str] = ...) -> None: ...

class QueryReply(_message.Message):
    __slots__ = ("query_id", "asker", "responder", "cells", "hops_left", "more", "total", "holder", "claim_id")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    ASKER_FIELD_NUMBER: _ClassVar[int]
    RESPONDER_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    asker: str
    responder: str
    cells: _containers.RepeatedCompositeFieldContainer[CellInfo]
    hops_left: int
    more: bool
    total: int
    holder: HolderAnswer
    claim_id: int
    def __init__(self, query_id: _Optional[int] = ..., asker: _Optional[str] = ..., responder: _Optional[str] = ..., cells: _Optional[_Iterable[_Union[CellInfo, _Mapping]]] = ..., hops_left: _Optional[int] = ..., more: bool = ..., total: _Optional[int] = ..., holder: _Optional[_Union[HolderAnswer, str]] = ..., claim_id: _Optional[int] = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ("nonce", "settled_below", "settled")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SETTLED_BELOW_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    settled_below: int
    settled: _containers.RepeatedCompositeFieldContainer[IdRun]
    def __init__(self, nonce: _Optional[int] = ..., settled_below: _Optional[int] = ..., settled: _Optional[_Iterable[_Union[IdRun, _Mapping]]] = ...) -> None: ...

class Pong(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    def __init__(self, nonce: _Optional[int] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("code", "sentence", "linked_fqcn")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    LINKED_FQCN_FIELD_NUMBER: _ClassVar[int]
    code: ErrorCode
    sentence: str
    linked_fqcn: str
    def __init__(self, code: _Optional[_Union[ErrorCode, str]] = ..., sentence: _Optional[str] = ..., linked_fqcn: _Optional[str] = ...) -> None: ...

class Handshake(_message.Message):
    __slots__ = ("initiator", "initiator_incarnation", "responder", "responder_incarnation", "from_responder", "session_id", "number", "data", "hops_left", "refusal")
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RESPONDER_FIELD_NUMBER: _ClassVar[int]
    RESPONDER_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    FROM_RESPONDER_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    HOPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    initiator: str
    initiator_incarnation: int
    responder: str
    responder_incarnation: int
    from_responder: bool
    session_id: bytes
    number: int
    data: bytes
    hops_left: int
    refusal: str
    def __init__(self, initiator: _Optional[str] = ..., initiator_incarnation: _Optional[int] = ..., responder: _Optional[str] = ..., responder_incarnation: _Optional[int] = ..., from_responder: bool = ..., session_id: _Optional[bytes] = ..., number: _Optional[int] = ..., data: _Optional[bytes] = ..., hops_left: _Optional[int] = ..., refusal: _Optional[str] = ...) -> None: ...
