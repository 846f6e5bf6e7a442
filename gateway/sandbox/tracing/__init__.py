"""Records how a gateway processes each update, and reports it to the page."""
