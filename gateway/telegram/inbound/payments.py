"""Decodes payments and orders, and converts them to the contract's messages."""

from botgateway.chat.v1 import message_pb2 as contract
from msgspec import Struct

from gateway.telegram.inbound.schema import Int64


class ShippingAddress(Struct):
    """A shipping address, with the fields of Telegram's object of this name."""

    country_code: str
    state: str
    city: str
    street_line1: str
    street_line2: str
    post_code: str


class OrderInfo(Struct):
    """What a user entered for an order; what the bot did not ask for is empty."""

    name: str = ""
    phone_number: str = ""
    email: str = ""
    shipping_address: ShippingAddress | None = None


class Payment(Struct):
    """A payment or a refund. The total is in the smallest unit of the currency."""

    currency: str
    total_amount: Int64
    invoice_payload: str
    telegram_payment_charge_id: str
    provider_payment_charge_id: str = ""
    shipping_option_id: str = ""
    order_info: OrderInfo | None = None


def convert_payment(payment: Payment) -> contract.Payment:
    """Convert a payment or refund to the contract's Payment; empty parts stay unset."""
    order = payment.order_info
    return contract.Payment(
        currency=payment.currency,
        total_amount=payment.total_amount,
        invoice_payload=payment.invoice_payload,
        telegram_payment_charge_id=payment.telegram_payment_charge_id,
        provider_payment_charge_id=payment.provider_payment_charge_id or None,
        shipping_option_id=payment.shipping_option_id or None,
        order_info=None if order is None else convert_order_info(order),
    )


def convert_order_info(order: OrderInfo) -> contract.OrderInfo:
    """Convert what a user entered for an order; empty parts stay unset."""
    address = order.shipping_address
    return contract.OrderInfo(
        name=order.name or None,
        phone_number=order.phone_number or None,
        email=order.email or None,
        shipping_address=None if address is None else convert_shipping_address(address),
    )


def convert_shipping_address(address: ShippingAddress) -> contract.ShippingAddress:
    """Convert a shipping address to the contract's ShippingAddress."""
    return contract.ShippingAddress(
        country_code=address.country_code,
        state=address.state,
        city=address.city,
        street_line1=address.street_line1,
        street_line2=address.street_line2,
        post_code=address.post_code,
    )
