"""A gateway between Telegram and a company's internal gRPC services."""
