"""What the other tests of this room need."""

import shutil


def test_a_browser_is_installed() -> None:
    """Without it the tests of the page are left out, and this one fails."""
    assert shutil.which("chromium"), "to install it: apt-get install chromium"
