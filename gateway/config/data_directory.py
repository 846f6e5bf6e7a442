"""The settings of the mailboxes in a file, which `Settings` includes."""

from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


class DataSettings(BaseSettings):
    """The settings of the directory with the mailboxes. Redis goes before it."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, validate_default=True
    )

    data_dir: Path | None = None
    data_synchronous: Literal["normal", "full"] = "normal"
