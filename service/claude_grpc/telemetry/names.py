"""Every name that telemetry uses: attributes, metrics, spans and events. Nowhere else is one spelled out.

``rpc.*``, ``http.*``, ``server.*``, ``error.type`` are those of the OpenTelemetry semantic conventions 1.44.0. The
``gen_ai.*`` names are those of the GenAI conventions, which have left that repository; they are in development, and
where a name has changed since 1.41.0, the last version published there, ours is the newer one. ``anthropic.*`` are the
names of Anthropic's own SDKs, and ``claude_grpc.*`` are ours.
"""

from __future__ import annotations

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
SCOPE: Final = "claude_grpc"
OTHER: Final = "_OTHER"
"""What stands for all values of a label beyond those it may have."""

# --- attributes of the conventions

ERROR_TYPE: Final = "error.type"
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS_CODE: Final = "rpc.response.status_code"  # `rpc.status_code` from 1.45 on
RPC_SYSTEM: Final = "rpc.system.name"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
URL_FULL: Final = "url.full"

# --- attributes of the GenAI conventions

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OPERATION: Final = "gen_ai.operation.name"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105 # a name
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"

# --- attributes of Anthropic's SDKs

ANTHROPIC_REQUEST_ID: Final = "anthropic.request.id"
ANTHROPIC_REQUEST_SERVICE_TIER: Final = "anthropic.request.service_tier"
ANTHROPIC_SERVICE_TIER: Final = "anthropic.response.service_tier"
ANTHROPIC_THINKING_BUDGET: Final = "anthropic.thinking.budget_tokens"
ANTHROPIC_THINKING_TYPE: Final = "anthropic.thinking.type"

# --- attributes of ours

CAUSE: Final = "claude_grpc.cause"
ERROR_ID: Final = "claude_grpc.error_id"
FALLBACK: Final = "claude_grpc.fallback"
OUTCOME: Final = "claude_grpc.outcome"
PHASE: Final = "claude_grpc.phase"
REASON: Final = "claude_grpc.reason"
RETRY_ATTEMPT: Final = "claude_grpc.retry.attempt"
RETRY_HELD_BACK: Final = "claude_grpc.retry.held_back"
RETRY_WAIT: Final = "claude_grpc.retry.wait"
STATE: Final = "claude_grpc.state"
TIMING: Final = "claude_grpc.timing"

# --- values that are fixed

ANTHROPIC: Final = "anthropic"
CANCELLED: Final = "CANCELLED"
CHAT: Final = "chat"
COUNT_TOKENS: Final = "count_tokens"
DEADLINE_EXCEEDED: Final = "DEADLINE_EXCEEDED"
GRPC: Final = "grpc"
MODALITY_UNKNOWN: Final = "unknown"
OK: Final = "OK"
SERVICE: Final = "claude-grpc"
STATE_CONNECTING: Final = "connecting"
STATE_OPEN: Final = "open"
STATE_QUEUED: Final = "queued"
STATE_RUNNING: Final = "running"

# --- events of spans

EVENT_RETRY: Final = "claude_grpc.retry"

# --- metrics of the conventions

METRIC_RPC_DURATION: Final = "rpc.server.call.duration"
METRIC_INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
METRIC_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
METRIC_USAGE_INPUT: Final = "gen_ai.client.inference.usage.input_tokens"
METRIC_USAGE_OUTPUT: Final = "gen_ai.client.inference.usage.output_tokens"
METRIC_USAGE_CACHE_READ: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
METRIC_USAGE_CACHE_WRITE: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
METRIC_USAGE_REASONING: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"

# --- metrics of ours

METRIC_RPC_ACTIVE: Final = "claude_grpc.rpc.active"
METRIC_RPC_CANCELS: Final = "claude_grpc.rpc.cancels"
METRIC_RPC_FAILURES: Final = "claude_grpc.rpc.failures"
METRIC_RPC_WITHOUT_DEADLINE: Final = "claude_grpc.rpc.without_deadline"
METRIC_ADMISSION_BYTES: Final = "claude_grpc.admission.bytes"
METRIC_ADMISSION_CALLS: Final = "claude_grpc.admission.calls"
METRIC_BREAKER_STATE: Final = "claude_grpc.breaker.state"
METRIC_FALLBACKS: Final = "claude_grpc.fallback.calls"
METRIC_RETRY_BUDGET: Final = "claude_grpc.retry.budget"
METRIC_UPSTREAM_ATTEMPTS: Final = "claude_grpc.upstream.attempts"
METRIC_UPSTREAM_EXCHANGES: Final = "claude_grpc.upstream.exchanges"
METRIC_UPSTREAM_HELD_BACK: Final = "claude_grpc.upstream.retries_held_back"
METRIC_UPSTREAM_RETRIES: Final = "claude_grpc.upstream.retries"
METRIC_LOOP_LAG: Final = "claude_grpc.event_loop.lag"
