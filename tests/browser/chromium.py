"""The browser of these tests."""

import shutil

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""Debian has both; the one without windows and menus costs half as much."""
