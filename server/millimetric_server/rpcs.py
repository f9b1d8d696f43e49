"""The whole API on one screen: every RPC that this server answers, with who may call it."""

from millimetric_server.api.call import Rpc, Streaming
from millimetric_server.api.messages import (
    BatchRequest,
    BatchResponse,
    ExplainRequest,
    ExplainResponse,
    ExportRequest,
    ExportResponse,
    ForgetRequest,
    ForgetResponse,
    FunnelRequest,
    FunnelResponse,
    GetErasureRequest,
    GetErasureResponse,
    IdentifyRequest,
    IdentifyResponse,
    QueryRequest,
    QueryResponse,
    RetentionRequest,
    RetentionResponse,
    SourcesRequest,
    SourcesResponse,
    StatsRequest,
    StatsResponse,
    TrackRequest,
    TrackResponse,
    TrackStreamRequest,
    TrackStreamResponse,
)
from millimetric_server.control.records import KeyKind
from millimetric_server.ingest.batch import batch, check_batch
from millimetric_server.ingest.explain import check_explain, explain
from millimetric_server.ingest.identify import check_identify, identify
from millimetric_server.ingest.track import check_track, track
from millimetric_server.ingest.track_stream import check_track_stream, track_stream
from millimetric_server.privacy.forget import check_forget, forget
from millimetric_server.privacy.get_erasure import check_get_erasure, get_erasure
from millimetric_server.reads.export import export, validate_export
from millimetric_server.reads.funnel import funnel, validate_funnel
from millimetric_server.reads.query import query, validate_query
from millimetric_server.reads.retention import retention, validate_retention
from millimetric_server.reads.sources import sources, validate_sources
from millimetric_server.reads.stats import stats, validate_stats

_WRITERS = frozenset({KeyKind.PUBLIC, KeyKind.SECRET})
_READERS = frozenset({KeyKind.SECRET, KeyKind.READ, KeyKind.ACCOUNT})
_OWNER = frozenset({KeyKind.SECRET})
_DEBUGGERS = frozenset({KeyKind.SECRET, KeyKind.READ})
_INGEST, _PRIVACY, _QUERY = "IngestService", "PrivacyService", "QueryService"

# fmt: off
HANDLERS: tuple[Rpc, ...] = (
    Rpc(_INGEST, "Track", TrackRequest, TrackResponse, _WRITERS, track, check_track, 202, "track"),
    Rpc(_INGEST, "Batch", BatchRequest, BatchResponse, _WRITERS, batch, check_batch, 202, "batch"),
    Rpc(_INGEST, "Identify", IdentifyRequest, IdentifyResponse, _WRITERS, identify, check_identify, 200, "identify"),
    Rpc(
        _INGEST, "TrackStream", TrackStreamRequest, TrackStreamResponse, _WRITERS, track_stream, check_track_stream,
        limit="track_stream", streaming=Streaming.BIDI,
    ),
    Rpc(_PRIVACY, "Forget", ForgetRequest, ForgetResponse, _OWNER, forget, check_forget),
    Rpc(_PRIVACY, "GetErasure", GetErasureRequest, GetErasureResponse, _OWNER, get_erasure, check_get_erasure),
    Rpc(_QUERY, "Query", QueryRequest, QueryResponse, _READERS, query, validate_query),
    Rpc(
        _QUERY, "Export", ExportRequest, ExportResponse, _READERS, export, validate_export, streaming=Streaming.SERVER,
    ),
    Rpc(_QUERY, "Stats", StatsRequest, StatsResponse, _READERS, stats, validate_stats),
    Rpc(_QUERY, "Sources", SourcesRequest, SourcesResponse, _READERS, sources, validate_sources),
    Rpc(_QUERY, "Funnel", FunnelRequest, FunnelResponse, _READERS, funnel, validate_funnel),
    Rpc(_QUERY, "Retention", RetentionRequest, RetentionResponse, _READERS, retention, validate_retention),
    Rpc(_QUERY, "Explain", ExplainRequest, ExplainResponse, _DEBUGGERS, explain, check_explain),
)
# fmt: on
