"""The billing service of Acme, behind a Telegram gateway."""
