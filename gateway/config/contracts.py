"""The settings that say which contracts are served, and where accepted ones are kept.

Commands that only read routes load them without the other settings.
"""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.config.env_file import find_env_file


class ContractSettings(BaseSettings):
    """The settings CONTRACTS and CONTRACTS_HISTORY; `Settings` inherits them."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, validate_default=True
    )

    contracts: str = "builtin"
    contracts_history: Path | None = None

    @property
    def contract_sources(self) -> list[str]:
        """The parts of CONTRACTS: "builtin", and paths of files and folders."""
        return [part.strip() for part in self.contracts.split(",") if part.strip()]


def load_contract_settings() -> ContractSettings:
    """Load CONTRACTS and CONTRACTS_HISTORY from the environment, or else from ENV_FILE.

    Raises:
        ConfigurationError: ENV_FILE, or the file `.env`, cannot be read.
    """
    return ContractSettings(_env_file=find_env_file())
