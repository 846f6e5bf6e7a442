"""Checks options that many sending methods have: topics, previews and others."""

from gateway.sandbox.simulator.validation.rules import (
    Parameters,
    bad_request,
    is_true,
    is_url,
    json_value,
    number,
)


def message_fields(parameters: Parameters) -> Parameters:
    """Return the fields of a message that result from the options of a call."""
    fields: Parameters = {}
    if topic := number(parameters.get("message_thread_id")):
        fields |= {"message_thread_id": topic, "is_topic_message": True}
    if topic := number(parameters.get("direct_messages_topic_id")):
        fields["direct_messages_topic"] = {"topic_id": topic}
    if account := parameters.get("business_connection_id"):
        fields["business_connection_id"] = account
    if is_true(parameters.get("protect_content")):
        fields["has_protected_content"] = True
    return fields


def link_preview(parameters: Parameters) -> Parameters:
    """Check the options of the link preview, and return them as a message's field.

    Returns {} if the call has none.

    Raises:
        ApiError: the options are invalid.
    """
    given = json_value(parameters, "link_preview_options", "link preview options")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise bad_request("Object expected as link preview options")
    if given.get("url") and not is_url(given["url"]):
        raise bad_request("WEBPAGE_URL_INVALID")
    if is_true(given.get("prefer_small_media")) and is_true(
        given.get("prefer_large_media")
    ):
        raise bad_request("link preview can't be both small and large")
    return {"link_preview_options": given}
