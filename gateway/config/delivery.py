"""The settings of the Delivery service, which `Settings` includes."""

import re
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.config.addresses import is_loopback

DEFAULT_CALL_METHODS = (
    "sendPoll,stopPoll,sendLocation,sendVenue,sendContact,sendDice,sendChecklist,"
    "editMessageLiveLocation,stopMessageLiveLocation,editMessageChecklist,"
    "sendInvoice,sendGame,sendPaidMedia,sendSticker,sendVideoNote,forwardMessage,"
    "forwardMessages,copyMessage,copyMessages,setMessageReaction,sendChatAction"
)
"""The Bot API methods that services may call by default. They only send something to a
chat, or change what the bot sent."""


class DeliverySettings(BaseSettings):
    """The settings of the Delivery service. It is off unless DELIVERY_PORT is set."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, validate_default=True
    )

    delivery_port: int | None = Field(default=None, ge=1, le=65535)
    delivery_tls_certificate_file: Path | None = None
    delivery_tls_key_file: Path | None = None
    delivery_tls_client_ca_file: Path | None = None
    delivery_callers_file: Path | None = None
    delivery_host: str | None = None
    delivery_call_methods: str = DEFAULT_CALL_METHODS
    delivery_bulk_rate: float = Field(default=25, ge=0.1, le=1000)

    @property
    def knows_delivery_callers(self) -> bool:
        """Whether the callers of the Delivery service have to identify themselves."""
        return bool(self.delivery_callers_file or self.delivery_tls_client_ca_file)

    @property
    def allowed_call_methods(self) -> frozenset[str]:
        """The methods of the Bot API that services may call."""
        methods = self.delivery_call_methods.split(",")
        return frozenset(it.strip() for it in methods if it.strip())

    @field_validator("delivery_call_methods")
    @classmethod
    def _check_call_methods(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9, ]*", value):
            raise ValueError("is not a list of methods, separated by commas")
        return value

    @field_validator("delivery_tls_key_file")
    @classmethod
    def _check_delivery_key(
        cls, value: Path | None, info: ValidationInfo
    ) -> Path | None:
        certificate = info.data.get("delivery_tls_certificate_file", value)
        if bool(value) != bool(certificate):
            raise ValueError("goes together with DELIVERY_TLS_CERTIFICATE_FILE")
        return value

    @field_validator("delivery_tls_client_ca_file")
    @classmethod
    def _check_delivery_client_ca(
        cls, value: Path | None, info: ValidationInfo
    ) -> Path | None:
        if value and info.data.get("delivery_tls_certificate_file", value) is None:
            raise ValueError("is set, but DELIVERY_TLS_CERTIFICATE_FILE is not")
        return value

    @field_validator("delivery_host")
    @classmethod
    def _check_delivery_host(
        cls, value: str | None, info: ValidationInfo
    ) -> str | None:
        credentials = ("delivery_tls_client_ca_file", "delivery_callers_file")
        if value is None or is_loopback(value):
            return value
        if all(info.data.get(name, name) is None for name in credentials):
            raise ValueError(
                "is not a loopback address, but nothing identifies the callers: set"
                " DELIVERY_CALLERS_FILE or DELIVERY_TLS_CLIENT_CA_FILE"
            )
        return value
