"""The people whom users can meet in the samples."""

MARGARET = (
    "directory:people/department-of-software/2b1c7e0a-55d4-4a86-9f39-d01b7f6f3c11"
)
"""An id that is longer than the data of a button may be."""

PEOPLE = {"u-grace": "Grace", "u-linus": "Linus", MARGARET: "Margaret"}
"""First names by internal user id."""
