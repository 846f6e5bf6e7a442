// Draws an invoice as a PNG: a bar for each item.

import { crc32, deflateSync } from "node:zlib";
import type { Invoice } from "./ledger.js";

export const WIDTH = 320;
const BAR_HEIGHT = 40;
const GAP = 20;
const PAPER = [0xff, 0xff, 0xff];
const INK = [0x1e, 0x88, 0xe5];

/** Returns a PNG in which the longest bar is the highest price. */
export function drawChart(invoice: Invoice): Buffer {
  const highest = Math.max(...invoice.items.map(({ cents }) => cents));
  const rows = Array(GAP).fill(drawRow(0));
  for (const { cents } of invoice.items) {
    const length = Math.floor((cents / highest) * (WIDTH - 2 * GAP));
    rows.push(...Array(BAR_HEIGHT).fill(drawRow(length)), ...Array(GAP).fill(drawRow(0)));
  }
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
  header.writeUInt32BE(WIDTH, 0);
  header.writeUInt32BE(rows.length, 4);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    buildChunk("IHDR", header),
    buildChunk("IDAT", deflateSync(Buffer.concat(rows))),
    buildChunk("IEND", Buffer.alloc(0)),
  ]);
}

function drawRow(length: number): Buffer {
  const pixels = Array.from({ length: WIDTH }, (_, x) =>
    x >= GAP && x < GAP + length ? INK : PAPER,
  );
  return Buffer.from([0, ...pixels.flat()]);
}

function buildChunk(name: string, content: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name, "latin1"), content]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(content.length, 0);
  ends.writeUInt32BE(crc32(named), 4);
  return Buffer.concat([ends.subarray(0, 4), named, ends.subarray(4)]);
}
