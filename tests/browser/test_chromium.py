"""What the other tests of this folder need."""

from tests.browser.chromium import CHROMIUM


def test_a_browser_is_installed() -> None:
    """Without it the tests of the page are left out, and this one fails."""
    assert CHROMIUM, "to install it: apt-get install chromium-headless-shell"
