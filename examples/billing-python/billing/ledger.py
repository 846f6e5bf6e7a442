"""The invoices of all users, in memory: a real service has a database here."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Item:
    """A line of an invoice."""

    title: str
    price: Decimal


@dataclass(frozen=True)
class Invoice:
    """An invoice."""

    number: int
    items: tuple[Item, ...]

    @property
    def total(self) -> Decimal:
        """The sum of all prices."""
        return sum((item.price for item in self.items), Decimal())


class UnknownInvoice(Exception):
    """The user has no invoice with this number."""


INVOICES = (
    Invoice(6, (Item("Tea", Decimal("4.20")), Item("Cups", Decimal("12.00")))),
    Invoice(
        7,
        (
            Item("Coffee", Decimal("9.90")),
            Item("Filters", Decimal("3.10")),
            Item("Delivery", Decimal("4.90")),
        ),
    ),
)
"""The invoices that every user has, oldest first."""


class Ledger:
    """Finds invoices, and remembers who paid them."""

    def __init__(self) -> None:
        self._payments: dict[tuple[int, int], str] = {}

    def find(self, number: int | None) -> Invoice:
        """Return an invoice, or the newest one.

        Raises:
            UnknownInvoice: there is no such invoice.
        """
        if number is None:
            return INVOICES[-1]
        for invoice in INVOICES:
            if invoice.number == number:
                return invoice
        raise UnknownInvoice

    def search(self, words: str) -> list[Invoice]:
        """Return the invoices with a number or an item that begins with the words."""
        start = words.strip().lower()
        return [
            invoice
            for invoice in INVOICES
            if str(invoice.number).startswith(start)
            or any(item.title.lower().startswith(start) for item in invoice.items)
        ]

    def is_paid(self, user_id: int, number: int) -> bool:
        """Return whether a user has paid an invoice."""
        return (user_id, number) in self._payments

    def pay(self, user_id: int, number: int, request_id: str) -> bool:
        """Pay an invoice, and return False if the user had paid it before.

        The payment keeps the id of its request: the gateway may repeat a request, and
        a repeated one gets the same answer.

        Raises:
            UnknownInvoice: there is no such invoice.
        """
        invoice = self.find(number)
        key = (user_id, invoice.number)
        return self._payments.setdefault(key, request_id) == request_id
