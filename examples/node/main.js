// Sends a blob and a stream to the cell at HOST:PORT, and waits for both to come back: node main.js HOST:PORT [NAME]
'use strict';

const assert = require('node:assert/strict');
const { Cell } = require('./cell');

const [address, name = 'node-1'] = process.argv.slice(2);
const ofBytes = (bytes) => (offset, most) => bytes.subarray(offset, offset + most);
const commas = (number) => number.toLocaleString('en-US');

async function main(cell) {
  const blob = Buffer.alloc(1_000_000, 'streamcell ');
  const headers = { round: 7, loss: 0.25, site: 'one', final: true, token: Buffer.from([1, 2]) };
  const lines = Buffer.from(Array.from({ length: 200_000 }, (_, n) => `line ${n}\n`).join(''));
  const blobBack = new Promise((resolve) => {
    cell.register('BLOB', 'node', 'blob', (bytes, stream) => resolve({ bytes, headers: stream.headers }));
  });
  const pieces = [];
  const streamBack = new Promise((resolve) => {
    cell.register('STREAM', 'node', 'lines', (piece, stream, last) => pieces.push(piece) && last && resolve());
  });

  const peer = await cell.connect(address);
  console.log(`linked to ${peer}`);
  const sent = await cell.send('BLOB', peer, 'node', 'blob', { headers, size: blob.length, read: ofBytes(blob) });
  console.log(`${peer} has the blob of ${commas(sent)} bytes`);
  const read = await cell.send('STREAM', peer, 'node', 'lines', { read: ofBytes(lines) });
  console.log(`${peer} has read the stream of ${commas(read)} bytes`);

  assert.deepEqual(await Promise.race([blobBack, cell.ended]), { bytes: blob, headers });
  console.log(`the blob came back, with its ${Object.keys(headers).length} headers`);
  await Promise.race([streamBack, cell.ended]);
  assert.deepEqual(Buffer.concat(pieces), lines);
  console.log('the stream came back');
}

const cell = new Cell(name);
main(cell).catch((error) => {
  console.error(`failed: ${error.message}`);
  process.exitCode = 1;
}).finally(() => cell.close());
