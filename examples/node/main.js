// Sends a blob and a stream to the cell at HOST:PORT, and waits for both to come back:
// node main.js HOST:PORT [NAME [CA CERT KEY]], the last three being files of a cell with TLS.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import grpc from '@grpc/grpc-js';
import { Cell } from './cell.js';

const [address, name = 'node-1', ...files] = process.argv.slice(2);
if (address === undefined || ![0, 3].includes(files.length)) {
  console.error('which cell is to be dialled, and how? node main.js HOST:PORT [NAME [CA CERT KEY]]');
  process.exit(2);
}
const [ca, cert, key] = files.map((file) => fs.readFileSync(file));
const credentials = ca && grpc.credentials.createSsl(ca, key, cert);
const blob = Buffer.alloc(1_000_000, 'streamcell ');
const headers = { round: 7, loss: 0.25, site: 'one', final: true, token: Buffer.from([1, 2]) };
const lines = Buffer.from(Array.from({ length: 200_000 }, (_, n) => `line ${n}\n`).join(''));
const reader = (bytes) => (offset, most) => bytes.subarray(offset, offset + most);
const commas = (number) => number.toLocaleString('en-US');

/** Resolves to the bytes and headers of what comes from the other cell. */
const comesBack = (cell, kind, topic) => new Promise((resolve, reject) => {
  const pieces = [];
  cell.ended.catch(reject);
  cell.register(kind, 'node', topic, (piece, stream, last) => {
    pieces.push(piece);
    if (last) resolve({ bytes: Buffer.concat(pieces), headers: stream.headers });
  });
});

async function main(cell) {
  const back = Promise.all([comesBack(cell, 'BLOB', 'blob'), comesBack(cell, 'STREAM', 'lines')]);
  back.catch(() => {}); // it is awaited later
  const peer = await cell.connect(address, credentials);
  console.log(`linked to ${peer}`);
  const sent = await cell.send('BLOB', peer, 'node', 'blob', { headers, size: blob.length, read: reader(blob) });
  console.log(`${peer} has the blob of ${commas(sent)} bytes`);
  const read = await cell.send('STREAM', peer, 'node', 'lines', { read: reader(lines) });
  console.log(`${peer} has read the stream of ${commas(read)} bytes`);
  assert.deepEqual(await back, [{ bytes: blob, headers }, { bytes: lines, headers: {} }]);
  console.log(`the blob came back, with its ${Object.keys(headers).length} headers`);
  console.log('the stream came back');
}

const cell = new Cell(name);
main(cell).catch((error) => {
  console.error(`failed: ${error.message}`);
  process.exitCode = 1;
}).finally(() => cell.close());
