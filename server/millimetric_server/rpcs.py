"""The whole API on one screen: every RPC that this server answers, with who may call it."""

from millimetric_server.api.messages import (
    AttributionRequest,
    AttributionResponse,
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
    TailRequest,
    TailResponse,
    TrackRequest,
    TrackResponse,
    TrackStreamRequest,
    TrackStreamResponse,
)
from millimetric_server.api.rpc import AnyRpc, BidiRpc, ServerStreamRpc, UnaryRpc
from millimetric_server.control.records import KeyKind
from millimetric_server.ingest.batch import batch, check_batch
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.ingest.explain import check_explain, explain
from millimetric_server.ingest.identify import check_identify, identify
from millimetric_server.ingest.track import check_track, track
from millimetric_server.ingest.track_stream import check_track_stream, track_stream
from millimetric_server.privacy.deps import PrivacyDeps
from millimetric_server.privacy.forget import check_forget, forget
from millimetric_server.privacy.get_erasure import check_get_erasure, get_erasure
from millimetric_server.reads.attribution import attribution, validate_attribution
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.export import export, validate_export
from millimetric_server.reads.funnel import funnel, validate_funnel
from millimetric_server.reads.query import query, validate_query
from millimetric_server.reads.retention import retention, validate_retention
from millimetric_server.reads.sources import sources, validate_sources
from millimetric_server.reads.stats import stats, validate_stats
from millimetric_server.reads.tail import tail, validate_tail

_WRITERS = frozenset({KeyKind.PUBLIC, KeyKind.SECRET})
_READERS = frozenset({KeyKind.SECRET, KeyKind.READ, KeyKind.ACCOUNT})
_OWNER = frozenset({KeyKind.SECRET})
_DEBUGGERS = frozenset({KeyKind.SECRET, KeyKind.READ})
_INGEST, _PRIVACY, _QUERY = "IngestService", "PrivacyService", "QueryService"


def make_rpcs(ingest: IngestDeps, privacy: PrivacyDeps, reads: ReadDeps) -> tuple[AnyRpc, ...]:
    """All RPCs. Each is bound to what its own room works with, and mypy checks that its functions fit together."""
    # fmt: off
    rpcs = (
        UnaryRpc(_INGEST, "Track", _WRITERS, TrackRequest, TrackResponse, check_track, track, ingest,
                 http_status=202, limit="track", count=lambda _request: 1),
        UnaryRpc(_INGEST, "Batch", _WRITERS, BatchRequest, BatchResponse, check_batch, batch, ingest,
                 http_status=202, limit="batch", count=lambda request: len(request.events)),
        UnaryRpc(_INGEST, "Identify", _WRITERS, IdentifyRequest, IdentifyResponse, check_identify, identify, ingest,
                 limit="identify", count=lambda _request: 1),
        BidiRpc(_INGEST, "TrackStream", _WRITERS, TrackStreamRequest, TrackStreamResponse, check_track_stream,
                track_stream, ingest, limit="track_stream", count=len),
        UnaryRpc(_PRIVACY, "Forget", _OWNER, ForgetRequest, ForgetResponse, check_forget, forget, privacy),
        UnaryRpc(_PRIVACY, "GetErasure", _OWNER, GetErasureRequest, GetErasureResponse, check_get_erasure,
                 get_erasure, privacy),
        UnaryRpc(_QUERY, "Query", _READERS, QueryRequest, QueryResponse, validate_query, query, reads, is_read=True),
        ServerStreamRpc(_QUERY, "Export", _READERS, ExportRequest, ExportResponse, validate_export, export, reads,
                        is_read=True),
        ServerStreamRpc(_QUERY, "Tail", _READERS, TailRequest, TailResponse, validate_tail, tail, reads,
                        is_read=True, is_endless=True),
        UnaryRpc(_QUERY, "Stats", _READERS, StatsRequest, StatsResponse, validate_stats, stats, reads, is_read=True),
        UnaryRpc(_QUERY, "Sources", _READERS, SourcesRequest, SourcesResponse, validate_sources, sources, reads,
                 is_read=True),
        UnaryRpc(_QUERY, "Funnel", _READERS, FunnelRequest, FunnelResponse, validate_funnel, funnel, reads,
                 is_read=True),
        UnaryRpc(_QUERY, "Retention", _READERS, RetentionRequest, RetentionResponse, validate_retention, retention,
                 reads, is_read=True),
        UnaryRpc(_QUERY, "Attribution", _READERS, AttributionRequest, AttributionResponse, validate_attribution,
                 attribution, reads, is_read=True),
        UnaryRpc(_QUERY, "Explain", _DEBUGGERS, ExplainRequest, ExplainResponse, check_explain, explain, ingest),
    )
    # fmt: on
    return rpcs  # noqa: RET504 - returned at once, mypy would infer Any for every row
