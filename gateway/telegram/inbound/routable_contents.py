"""Finds the contents of messages for which contracts may have a route.

Most of them are what Telegram calls service messages: nobody wrote them, they report an
event. They are searched for only in messages without any other content.
"""

from msgspec import Raw
from msgspec.json import Decoder

from gateway.telegram.inbound.references import decode_or_none

_fields_decoder = Decoder(dict[str, Raw])


def find_service_content(json: Raw) -> tuple[str, Raw] | None:
    """Find the content of a message that has no text and no attachment.

    A content that Telegram adds later is found, too: it is the first field with an
    unknown name.

    Args:
        json: the message.

    Returns:
        The name and the value of the field; None if there is no such field, or if the
        JSON is not an object.
    """
    fields = decode_or_none(_fields_decoder, json) or {}
    unknown_name = None
    for name, value in fields.items():
        if name in SERVICE_CONTENTS:
            return name, value
        if unknown_name is None and name not in _NON_CONTENT_FIELDS:
            unknown_name = name
    return None if unknown_name is None else (unknown_name, fields[unknown_name])


SERVICE_CONTENTS = frozenset(
    {
        "new_chat_members",
        "left_chat_member",
        "chat_owner_left",
        "chat_owner_changed",
        "new_chat_title",
        "new_chat_photo",
        "delete_chat_photo",
        "group_chat_created",
        "supergroup_chat_created",
        "channel_chat_created",
        "message_auto_delete_timer_changed",
        "migrate_to_chat_id",
        "migrate_from_chat_id",
        "pinned_message",
        "users_shared",
        "chat_shared",
        "gift",
        "unique_gift",
        "gift_upgrade_sent",
        "connected_website",
        "write_access_allowed",
        "passport_data",
        "proximity_alert_triggered",
        "boost_added",
        "chat_background_set",
        "checklist_tasks_done",
        "checklist_tasks_added",
        "direct_message_price_changed",
        "forum_topic_created",
        "forum_topic_edited",
        "forum_topic_closed",
        "forum_topic_reopened",
        "general_forum_topic_hidden",
        "general_forum_topic_unhidden",
        "giveaway_created",
        "giveaway_completed",
        "managed_bot_created",
        "paid_message_price_changed",
        "poll_option_added",
        "poll_option_deleted",
        "suggested_post_approved",
        "suggested_post_approval_failed",
        "suggested_post_declined",
        "suggested_post_paid",
        "suggested_post_refunded",
        "video_chat_scheduled",
        "video_chat_started",
        "video_chat_ended",
        "video_chat_participants_invited",
        "web_app_data",
        "community_chat_added",
        "community_chat_removed",
        "community_chat_joined",
    }
)
"""The fields of Message that report an event (Bot API 10.3)."""

GAME_FIELD = "game_short_name"
"""The field of a callback query from a game's button, which has no data."""

_NON_CONTENT_FIELDS = frozenset(
    {
        "message_id",
        "message_thread_id",
        "direct_messages_topic",
        "from",
        "sender_chat",
        "sender_boost_count",
        "sender_business_bot",
        "sender_tag",
        "date",
        "guest_query_id",
        "business_connection_id",
        "chat",
        "forward_origin",
        "is_topic_message",
        "is_automatic_forward",
        "reply_to_message",
        "external_reply",
        "quote",
        "reply_to_story",
        "reply_to_checklist_task_id",
        "reply_to_poll_option_id",
        "via_bot",
        "guest_bot_caller_user",
        "guest_bot_caller_chat",
        "edit_date",
        "has_protected_content",
        "is_from_offline",
        "is_paid_post",
        "media_group_id",
        "author_signature",
        "paid_star_count",
        "text",
        "entities",
        "link_preview_options",
        "suggested_post_info",
        "effect_id",
        "caption",
        "caption_entities",
        "show_caption_above_media",
        "has_media_spoiler",
        "reply_markup",
        "receiver_user",
        "ephemeral_message_id",
        # Not, or no longer, documented, but still sent together with their successors.
        "forward_date",
        "forward_from",
        "forward_from_chat",
        "forward_from_message_id",
        "forward_sender_name",
        "forward_signature",
        "user_shared",
        "new_chat_member",
        "new_chat_participant",
        "left_chat_participant",
        "voice_chat_scheduled",
        "voice_chat_started",
        "voice_chat_ended",
        "voice_chat_participants_invited",
    }
)
"""The fields of Message that are not contents (Bot API 10.3).

Attachments are missing here, because messages with an attachment are not searched.
"""
