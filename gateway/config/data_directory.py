"""The settings of mailboxes that are stored in a file, which `Settings` includes."""

from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


class DataSettings(BaseSettings):
    """The settings of mailboxes in a directory, which are used if Redis is not."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, validate_default=True
    )

    data_dir: Path | None = None
    data_synchronous: Literal["normal", "full"] = "normal"
