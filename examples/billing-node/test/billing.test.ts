// The ledger and the picture, without a server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { drawChart, WIDTH } from "../src/chart.js";
import { INVOICES, Ledger, UnknownInvoice } from "../src/ledger.js";

test("a repeated request gets the same answer, another one does not", () => {
  const ledger = new Ledger();
  assert.equal(ledger.pay(1, 7, "first"), true);
  assert.equal(ledger.pay(1, 7, "first"), true);
  assert.equal(ledger.pay(1, 7, "second"), false);
  assert.equal(ledger.pay(2, 7, "third"), true);
});

test("an unknown invoice is not paid, whatever the app of the user sends", () => {
  assert.throws(() => new Ledger().pay(1, 99, "first"), UnknownInvoice);
});

test("invoices are found by number and item, and all of them without words", () => {
  const search = (words: string) => new Ledger().search(words).map(({ number }) => number);
  assert.deepEqual(search("COF"), [7]);
  assert.deepEqual(search("6"), [6]);
  assert.equal(search("").length, INVOICES.length);
});

test("the picture is a PNG of its size", () => {
  const content = drawChart(INVOICES[0]!);
  assert.equal(content.toString("latin1", 0, 8), "\x89PNG\r\n\x1a\n");
  assert.equal(content.readUInt32BE(16), WIDTH);
  assert.equal(content.readUInt32BE(20), 140);
});
