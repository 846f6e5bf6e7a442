"""The setting that says which contracts are served.

Commands that only read routes load it without the other settings.
"""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.config.env_file import find_env_file


class ContractSettings(BaseSettings):
    """The setting CONTRACTS, a part of all settings."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, validate_default=True
    )

    contracts: str = "builtin"
    contracts_history: Path | None = None

    @property
    def contract_sources(self) -> list[str]:
        """The sources of contracts: "builtin", and files and folders."""
        return [part.strip() for part in self.contracts.split(",") if part.strip()]


def load_contract_settings() -> ContractSettings:
    """Load the setting from the environment or the file with settings.

    Raises:
        ConfigurationError: the file with settings cannot be read.
    """
    return ContractSettings(_env_file=find_env_file())
