"""`telegram-gateway doctor`: connects to everything, and says what is wrong."""
