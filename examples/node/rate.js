// Measures how fast bytes go to a cell, over the one at HOST:PORT: node rate.js HOST:PORT TARGET [MEBIBYTES]
import { Cell } from './cell.js';
import { MIB } from './wire.js';

const [address, target, mebibytes = '64'] = process.argv.slice(2);
if (target === undefined) {
  console.error('to which cell, and by way of which? node rate.js HOST:PORT TARGET [MEBIBYTES]');
  process.exit(2);
}
const bytes = Buffer.alloc(Number(mebibytes) * MIB, 'streamcell ');
const read = (offset, most) => bytes.subarray(offset, offset + most);

async function main(cell) {
  await cell.connect(address);
  const startedAt = performance.now();
  const size = await cell.send('STREAM', target, 'node', 'rate', { read });
  console.log(`${target}: ${(size / 1000 / (performance.now() - startedAt)).toFixed(1)} MB/s`);
}

const cell = new Cell('node-rate');
main(cell).catch((error) => {
  console.error(`failed: ${error.message}`);
  process.exitCode = 1;
}).finally(() => cell.close());
