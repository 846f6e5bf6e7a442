// The invoices of all users, in memory: a real service has a database here.

export interface Item {
  title: string;
  cents: number;
}

export interface Invoice {
  number: number;
  items: Item[];
}

/** The user has no invoice with this number. */
export class UnknownInvoice extends Error {}

/** The invoices that every user has, oldest first. */
export const INVOICES: Invoice[] = [
  {
    number: 6,
    items: [
      { title: "Tea", cents: 420 },
      { title: "Cups", cents: 1200 },
    ],
  },
  {
    number: 7,
    items: [
      { title: "Coffee", cents: 990 },
      { title: "Filters", cents: 310 },
      { title: "Delivery", cents: 490 },
    ],
  },
];

export function formatPrice(cents: number): string {
  return `${(cents / 100).toFixed(2)} EUR`;
}

export function formatTotal(invoice: Invoice): string {
  return formatPrice(invoice.items.reduce((sum, item) => sum + item.cents, 0));
}

export class Ledger {
  readonly #payments = new Map<string, string>();

  /** Returns an invoice, or the newest one if there is no number. */
  find(number: number | undefined): Invoice {
    const found =
      number === undefined
        ? INVOICES.at(-1)
        : INVOICES.find((invoice) => invoice.number === number);
    if (found === undefined) throw new UnknownInvoice();
    return found;
  }

  /** Returns the invoices with a number or an item that begins with the words. */
  search(words: string): Invoice[] {
    const start = words.trim().toLowerCase();
    return INVOICES.filter(
      ({ number, items }) =>
        String(number).startsWith(start) ||
        items.some(({ title }) => title.toLowerCase().startsWith(start)),
    );
  }

  isPaid(userId: number, number: number): boolean {
    return this.#payments.has(`${userId}/${number}`);
  }

  /**
   * Pays an invoice, and returns false if the user had paid it before.
   *
   * The payment keeps the id of its request: the gateway may repeat a request, and a repeated one
   * gets the same answer.
   */
  pay(userId: number, number: number, requestId: string): boolean {
    const key = `${userId}/${this.find(number).number}`;
    const paidBy = this.#payments.get(key) ?? requestId;
    this.#payments.set(key, paidBy);
    return paidBy === requestId;
  }
}
