"""Builds the answers to Telegram's queries, except those of pressed buttons.

Pure: the same update and reply always result in the same calls. Even an empty reply
answers a query: a payment that the service does not confirm is declined, and no app
keeps waiting.
"""

from collections.abc import Callable, Sequence
from typing import Any

from botgateway.chat.v1.reply_pb2 import (
    JOIN_DECISION_APPROVE,
    JOIN_DECISION_DECLINE,
    InlineQueryResult,
    OutgoingMessage,
    Reply,
    ShippingOption,
)
from msgspec import structs

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import APOLOGY_TEXT, RejectedPart
from gateway.domain.reply_limits import MAX_OPTIONS, MAX_RESULTS
from gateway.domain.update import OtherUpdate
from gateway.telegram.outbound.inline_results import build_inline_result
from gateway.telegram.outbound.text_splitting import is_blank

_MAX_OFFSET_BYTES = 64
"""Bot API, answerInlineQuery: next_offset."""

_JOIN_DECISIONS = {
    JOIN_DECISION_APPROVE: ("approve", "approveChatJoinRequest"),
    JOIN_DECISION_DECLINE: ("decline", "declineChatJoinRequest"),
}

_REMOVABLE_FIELDS = {
    RejectedPart.FORMAT: "parse_mode",
    RejectedPart.KEYBOARD: "reply_markup",
}

Parameters = dict[str, Any]
ReportDropped = Callable[[str], None]


def answer_query(
    update: OtherUpdate, reply: Reply, report_dropped: ReportDropped
) -> tuple[list[BotApiCall], Sequence[OutgoingMessage]]:
    """Build the calls that answer the query in an update, if the update has one.

    Args:
        update: an update, which need not be a query.
        reply: the service's reply.
        report_dropped: called with the code of each dropped part.

    Returns:
        The calls, and the messages of the reply that the calls do not contain. The
        caller still has to send these messages.
    """
    messages: Sequence[OutgoingMessage] = reply.messages
    if update.trigger_name == "guest_message":
        return _answer_guest_message(update, messages[:1], report_dropped), messages[1:]
    answer = _ANSWER_BUILDERS.get(update.update_type)
    return answer(update, reply, report_dropped) if answer else [], messages


def degrade_answer(call: BotApiCall, rejected: RejectedPart) -> BotApiCall | None:
    """Return an answer to a query without the part that Telegram rejected.

    The part is removed from all results. Only the format and the keyboard can be
    removed.

    Returns:
        The simpler call; None if the answer has no such part.
    """
    name = _REMOVABLE_FIELDS.get(rejected)
    if name is None:
        return None
    parameters = dict(call.parameters)
    if "results" in parameters:
        parameters["results"] = [
            _remove_field(each, name) for each in parameters["results"]
        ]
    elif "result" in parameters:
        parameters["result"] = _remove_field(parameters["result"], name)
    if parameters == call.parameters:
        return None
    return structs.replace(call, parameters=parameters)


def _remove_field(value: Any, name: str) -> Any:  # noqa: ANN401 - any part of a result
    if not isinstance(value, dict):
        return value
    return {
        key: _remove_field(part, name) for key, part in value.items() if key != name
    }


def _answer_inline_query(
    update: OtherUpdate, reply: Reply, report_dropped: ReportDropped
) -> list[BotApiCall]:
    answer = reply.inline_answer
    parameters: Parameters = {
        "inline_query_id": update.query_id,
        "results": _build_results(answer.results, report_dropped),
        # Telegram's own default is 300 seconds.
        "cache_time": max(0, answer.cache_seconds),
    }
    if answer.is_personal:
        parameters["is_personal"] = True
    if len(answer.next_offset.encode()) > _MAX_OFFSET_BYTES:
        report_dropped("next_offset_too_long")
    elif answer.next_offset:
        parameters["next_offset"] = answer.next_offset
    return [BotApiCall(method="answerInlineQuery", parameters=parameters)]


def _build_results(
    results: Sequence[InlineQueryResult], report_dropped: ReportDropped
) -> list[Parameters]:
    if len(results) > MAX_RESULTS:
        report_dropped("too_many_results")
    results_by_id: dict[str, Parameters] = {}
    for result in results[:MAX_RESULTS]:
        if result.result_id in results_by_id:
            report_dropped("result_id_taken")
        elif (built := build_inline_result(result, report_dropped)) is not None:
            results_by_id[result.result_id] = built
    return list(results_by_id.values())


def _answer_guest_message(
    update: OtherUpdate,
    messages: Sequence[OutgoingMessage],
    report_dropped: ReportDropped,
) -> list[BotApiCall]:
    """Build the answer to a guest's message: the first message, as an inline result."""
    for message in messages:
        if update.query_id is None:
            report_dropped("no_chat")
            continue
        # Telegram requires a title, but does not show it.
        result = InlineQueryResult(result_id="answer", title="answer", message=message)
        built = build_inline_result(result, report_dropped)
        if built is None and message.media:
            # There is only one answer: without the media, it still has the text.
            del result.message.media[:]
            built = build_inline_result(result, report_dropped)
        if built is not None:
            answer = {"guest_query_id": update.query_id, "result": built}
            return [BotApiCall(method="answerGuestQuery", parameters=answer)]
    return []


def _answer_pre_checkout_query(
    update: OtherUpdate, reply: Reply, _: ReportDropped
) -> list[BotApiCall]:
    answer = reply.pre_checkout_answer
    parameters: Parameters = {
        "pre_checkout_query_id": update.query_id,
        "ok": answer.ok,
    }
    if not answer.ok:
        parameters["error_message"] = _choose_reason(answer.error_message)
    return [BotApiCall(method="answerPreCheckoutQuery", parameters=parameters)]


def _answer_shipping_query(
    update: OtherUpdate, reply: Reply, report_dropped: ReportDropped
) -> list[BotApiCall]:
    answer = reply.shipping_answer
    options = []
    if len(answer.options) > MAX_OPTIONS:
        report_dropped("too_many_shipping_options")
    for option in answer.options[:MAX_OPTIONS]:
        if _is_complete(option):
            options.append(_build_option(option))
        else:
            report_dropped("shipping_option_incomplete")
    parameters: Parameters = {"shipping_query_id": update.query_id, "ok": bool(options)}
    if options:
        parameters["shipping_options"] = options
    else:
        parameters["error_message"] = _choose_reason(answer.error_message)
    return [BotApiCall(method="answerShippingQuery", parameters=parameters)]


def _is_complete(option: ShippingOption) -> bool:
    """Return whether Telegram would accept an option."""
    if not 0 < len(option.prices) <= MAX_OPTIONS:
        return False
    texts = (option.option_id, option.title, *(part.label for part in option.prices))
    return not any(is_blank(text) for text in texts)


def _build_option(option: ShippingOption) -> Parameters:
    prices = [{"label": part.label, "amount": part.amount} for part in option.prices]
    return {"id": option.option_id, "title": option.title, "prices": prices}


def _choose_reason(text: str) -> str:
    """Return the reason that the user sees; Telegram requires one for a refusal."""
    return APOLOGY_TEXT if is_blank(text) else text


def _answer_join_request(
    update: OtherUpdate, reply: Reply, _: ReportDropped
) -> list[BotApiCall]:
    decision, method = _JOIN_DECISIONS.get(reply.join_decision, ("queue", ""))
    if update.query_id is not None:
        parameters: Parameters = {
            "chat_join_request_query_id": update.query_id,
            "result": decision,
        }
        return [BotApiCall(method="answerChatJoinRequestQuery", parameters=parameters)]
    if not method:
        return []
    context = update.context
    parameters = {"chat_id": context.chat_id, "user_id": context.telegram_user_id}
    return [BotApiCall(method=method, parameters=parameters)]


_ANSWER_BUILDERS: dict[
    str, Callable[[OtherUpdate, Reply, ReportDropped], list[BotApiCall]]
] = {
    "inline_query": _answer_inline_query,
    "pre_checkout_query": _answer_pre_checkout_query,
    "shipping_query": _answer_shipping_query,
    "chat_join_request": _answer_join_request,
}
"""The functions that build the answer, by the type of the query."""
