"""What the gateway says of its own accord in more than one room."""

APOLOGY_TEXT = "Something went wrong on our side. Please try again in a minute."
