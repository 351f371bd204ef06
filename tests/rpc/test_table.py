"""Every error that the official SDK knows has its place in the table of status codes."""

from __future__ import annotations

from typing import get_args

import grpc
import pytest
from anthropic._error_classes import ERROR_CLASSES
from anthropic.types.shared.error_type import ErrorType

from claude_grpc.errors import SchemaError, UpstreamStatusError
from claude_grpc.rpc.table import row_of

Code = grpc.StatusCode

INVALID = (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
PRECONDITION = (Code.FAILED_PRECONDITION, "PRECONDITION")

# HTTP status, the error.type that goes with it, code and reason without an error_code; then, by code and reason, the
# error_codes that there are under the status.
STATUSES: list[tuple[int, str, tuple[Code, str], dict[tuple[Code, str], str]]] = [
    (
        400,
        "invalid_request_error",
        INVALID,
        {
            INVALID: """
                already_member available_tools_limit_exceeded bundle_attachment_not_supported bundle_on_call
                cannot_invite_emails_with_unverified_domains cannot_remove_last_member cannot_sign_out_primary_owner
                cannot_sign_out_self compaction_block_ambiguous compaction_block_misplaced compaction_content_mismatch
                compaction_incomplete_turn compaction_nothing_to_summarize compaction_signature_invalid
                compaction_too_many_tool_references compaction_tool_changes_mismatch email_domain_not_allowed
                external_key_in_workspace_policy external_key_validation_failed external_key_validation_timed_out
                image_dimensions_too_large invalid_config_type_change invalid_metadata invite_already_exists
                key_profile_mismatch org_api_key_limit_exceeded org_member_limit_exceeded rbac_group_grants_owner_access
                rbac_group_order_limit_exceeded rbac_group_owner_access_unconfirmed request_body_encoding_invalid
                request_body_encoding_unsupported settings_document_limit_exceeded settings_history_limit_exceeded
                slack_channel_set_up_settings_refused thread_fingerprint_mismatch thread_unsupported_request
                tool_name_conflict tool_reference_unresolved unsupported_charset user_profile_required
                workspace_api_key_limit_exceeded workspace_member_limit_exceeded workspace_policy_violation
            """,
            PRECONDITION: """
                claude_code_key_creator_not_member claude_code_version_too_old cmek_feature_unsupported
                cmek_key_disabled cmek_key_network_blocked environment_archived
                organization_not_enrolled_in_beta organization_on_hold organization_type_not_supported
                parent_organization_required scan_failed thread_already_continued
            """,
            (Code.FAILED_PRECONDITION, "FILE_NOT_DOWNLOADABLE"): "file_not_downloadable",
            (Code.ABORTED, "CONFLICT"): "thread_continue_in_flight",
            (Code.NOT_FOUND, "NOT_FOUND"): "user_profile_not_found",
            (Code.RESOURCE_EXHAUSTED, "STORAGE_QUOTA"): "storage_quota_exceeded",
            (Code.UNAVAILABLE, "REQUEST_BODY_TIMEOUT"): "request_body_timeout",
        },
    ),
    (401, "authentication_error", (Code.UNAUTHENTICATED, "AUTHENTICATION"), {}),
    (
        402,
        "billing_error",
        (Code.FAILED_PRECONDITION, "BILLING"),
        {
            (Code.FAILED_PRECONDITION, "BILLING"): """
                linked_organization_billing_unavailable linked_organization_spend_limit_reached
            """
        },
    ),
    (
        403,
        "permission_error",
        (Code.PERMISSION_DENIED, "PERMISSION"),
        {
            (Code.PERMISSION_DENIED, "PERMISSION"): """
                api_key_scope_missing cannot_sign_out_managed_member cannot_sign_out_membership_admin
                cannot_sign_out_owner cannot_sign_out_privileged_member claude_tag_writes_not_enabled
                compliance_configuration_restricted environment_create_disabled environment_update_disabled
                organization_level_scoped_api_key_required sandbox_egress_restricted
                spend_limits_admin_api_writes_not_enabled user_profile_billing_not_authorized user_profile_not_billable
            """
        },
    ),
    (
        404,
        "not_found_error",
        (Code.NOT_FOUND, "NOT_FOUND"),
        {
            (Code.NOT_FOUND, "NOT_FOUND"): """
                environment_not_found rbac_group_managed_settings_not_found rbac_group_not_found
                rbac_role_not_found slack_channel_set_up_environment_not_found thread_not_found
            """,
            (Code.NOT_FOUND, "FILE_EXPIRED"): "file_expired",
        },
    ),
    (408, "timeout_error", (Code.UNAVAILABLE, "UPSTREAM_TIMEOUT"), {}),
    (
        409,
        "conflict_error",
        (Code.ABORTED, "CONFLICT"),
        {
            (Code.ABORTED, "CONFLICT"): """
                concurrent_membership_change external_key_changed scan_pending slack_channel_set_up_settings_conflict
            """,
            (Code.ALREADY_EXISTS, "NAME_TAKEN"): "plugin_name_taken skill_name_taken",
            PRECONDITION: "skill_read_blocked_undecryptable",
        },
    ),
    (412, "invalid_request_error", PRECONDITION, {PRECONDITION: "heartbeat_precondition_failed"}),
    (
        413,
        "request_too_large",
        (Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"),
        {(Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"): "request_body_too_large_after_decoding"},
    ),
    (422, "invalid_request_error", INVALID, {}),
    (
        429,
        "rate_limit_error",
        (Code.RESOURCE_EXHAUSTED, "RATE_LIMIT"),
        {
            (Code.RESOURCE_EXHAUSTED, "RATE_LIMIT"): "ramp_limit_exceeded",
            (Code.RESOURCE_EXHAUSTED, "SPEND_LIMIT"): "contract_spend_limit_reached enforced_spend_limit_reached",
        },
    ),
    (431, "invalid_request_error", (Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"), {}),
    (499, "invalid_request_error", (Code.CANCELLED, "CLIENT_CLOSED_REQUEST"), {}),
    (501, "api_error", (Code.UNIMPLEMENTED, "NOT_IMPLEMENTED"), {}),
    (
        503,
        "api_error",
        (Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        {
            (Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"): """
                cmek_context_unavailable cmek_key_unreachable registration_pending
            """
        },
    ),
    (504, "timeout_error", (Code.UNAVAILABLE, "UPSTREAM_TIMEOUT"), {}),
    (
        529,
        "overloaded_error",
        (Code.UNAVAILABLE, "OVERLOADED"),
        {(Code.UNAVAILABLE, "OVERLOADED"): "compaction_unavailable"},
    ),
]
ROWS = [
    (status, error_type, code, *expected)
    for status, error_type, without_code, codes in STATUSES
    for expected, names in [(without_code, None), *codes.items()]
    for code in ([""] if names is None else names.split())
]

# What an `error` event says under status 200.
EVENTS = {
    "api_error": (Code.INTERNAL, "API_ERROR"),
    "authentication_error": (Code.UNAUTHENTICATED, "AUTHENTICATION"),
    "billing_error": (Code.FAILED_PRECONDITION, "BILLING"),
    "conflict_error": (Code.ABORTED, "CONFLICT"),
    "invalid_request_error": INVALID,
    "memory_path_conflict_error": (Code.ABORTED, "CONFLICT"),
    "memory_precondition_failed_error": PRECONDITION,
    "not_found_error": (Code.NOT_FOUND, "NOT_FOUND"),
    "overloaded_error": (Code.UNAVAILABLE, "OVERLOADED"),
    "permission_error": (Code.PERMISSION_DENIED, "PERMISSION"),
    "rate_limit_error": (Code.RESOURCE_EXHAUSTED, "RATE_LIMIT"),
    "timeout_error": (Code.UNAVAILABLE, "UPSTREAM_TIMEOUT"),
}


def placed(http_status: int, error_type: str = "", error_code: str = "") -> tuple[Code, str]:
    row = row_of(UpstreamStatusError("x", http_status=http_status, error_type=error_type, error_code=error_code))
    return row.code, row.reason


@pytest.mark.parametrize(("http_status", "error_type", "error_code", "code", "reason"), ROWS)
def test_an_error_response_has_its_code_and_reason(
    http_status: int, error_type: str, error_code: str, code: Code, reason: str
) -> None:
    assert placed(http_status, error_type, error_code) == (code, reason)
    # A proxy on the way may have made the body its own, or none.
    assert placed(http_status, "", error_code) == (code, reason)


@pytest.mark.parametrize(("error_type", "expected"), EVENTS.items())
def test_an_error_event_has_its_code_and_reason(error_type: str, expected: tuple[Code, str]) -> None:
    assert placed(200, error_type) == expected


@pytest.mark.parametrize(("http_status", "error_type", "error_code", "code", "reason"), ROWS)
def test_an_error_event_is_placed_by_its_error_code_as_well(
    http_status: int, error_type: str, error_code: str, code: Code, reason: str
) -> None:
    special = placed(http_status, error_type) != (code, reason)
    assert placed(200, error_type, error_code) == ((code, reason) if special else placed(200, error_type, error_code))


def test_the_table_lists_every_error_that_the_sdk_knows() -> None:
    assert {(status, code or None) for status, _, code, *_ in ROWS} == set(ERROR_CLASSES)


def test_the_table_lists_every_type_that_the_sdk_knows() -> None:
    assert set(EVENTS) == set(get_args(ErrorType))


@pytest.mark.parametrize(
    ("http_status", "error_type", "expected"),
    [
        (405, "", (Code.UNIMPLEMENTED, "NOT_IMPLEMENTED")),
        (418, "", INVALID),
        (418, "invalid_request_error", INVALID),
        (302, "", (Code.INTERNAL, "API_ERROR")),
        (500, "api_error", (Code.INTERNAL, "API_ERROR")),
        (502, "", (Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")),
        (599, "", (Code.INTERNAL, "API_ERROR")),
        # The type decides before the status, but for the two that say nothing.
        (500, "overloaded_error", (Code.UNAVAILABLE, "OVERLOADED")),
        (400, "rate_limit_error", (Code.RESOURCE_EXHAUSTED, "RATE_LIMIT")),
        (401, "invalid_request_error", (Code.UNAUTHENTICATED, "AUTHENTICATION")),
        (529, "api_error", (Code.UNAVAILABLE, "OVERLOADED")),
        (500, "invalid_request_error", INVALID),
        (200, "never_heard_of", (Code.INTERNAL, "API_ERROR")),
        (429, "never_heard_of", (Code.RESOURCE_EXHAUSTED, "RATE_LIMIT")),
    ],
)
def test_what_the_sdk_does_not_know_has_its_place(
    http_status: int, error_type: str, expected: tuple[Code, str]
) -> None:
    assert placed(http_status, error_type) == expected
    assert placed(http_status, error_type, "never_heard_of") == expected


def test_an_error_that_no_call_can_raise_has_no_place() -> None:
    with pytest.raises(SchemaError):
        row_of(SchemaError("x"))
