// A minimal cell: docs/wire.md, "What a minimal cell must do". It dials one other cell on one lane, and when the lane
// ends, so does all that it carried. README.md says what a cell in production would add.

import crypto from 'node:crypto';
import grpc from '@grpc/grpc-js';
import { Receiver, Sender } from './streams.js';
import { INITIAL_CREDIT, KIB, MIB, decodeBatch, encodeBatch, toHeaders } from './wire.js';

// How much may be on the lane that the neighbour has not read, and how much of it goes before a Ping.
const [SHARED_LANE_BYTES, MARK_BYTES] = [256 * KIB, 64 * KIB];
const MESSAGE_BYTES = 6 * MIB;

// The cell. Register callbacks, then `connect`, then `send`. A lane is pinged that has been silent for `pingMs` with
// something under way, or for `idlePingMs`, and dropped `answerMs` later.
export class Cell {
  constructor(fqcn, { pingMs = 5_000, idlePingMs = 15_000, answerMs = 3_000 } = {}) {
    // Start time in milliseconds times 2^20, plus 20 random bits.
    const incarnation = String((BigInt(Date.now()) << 20n) | BigInt(crypto.randomInt(1 << 20)));
    Object.assign(this, { fqcn, incarnation, lastId: 0, senders: new Map() });
    Object.assign(this, { callbacks: new Map(), receivers: new Map(), settled: new Map() });
    Object.assign(this, { pingMs, idlePingMs, answerMs, pingedAt: 0, heardAt: 0 });
    // Bytes put on the lane: all, those before the last Ping, those that a Pong covers; and which, by the Ping's nonce.
    Object.assign(this, { sent: 0, marked: 0, read: 0, marks: new Map(), lastNonce: 0 });
    // Rejects when the lane has ended.
    this.ended = new Promise((_, reject) => Object.assign(this, { reject }));
    this.ended.catch(() => {});
  }

  /** `callback(bytes, stream, last)` gets each piece of a 'STREAM', and a 'BLOB' whole; it may be async. */
  register(kind, channel, topic, callback) {
    this.callbacks.set(`STREAM_KIND_${kind} ${channel}/${topic}`, callback);
  }

  /** Dials HOST:PORT and waits for the Hello of the cell there; resolves to its name. In plaintext, if not said. */
  connect(address, credentials = grpc.credentials.createInsecure()) {
    const options = { 'grpc.max_receive_message_length': MESSAGE_BYTES, 'grpc.keepalive_time_ms': 30_000 };
    const client = new grpc.Client(address, credentials, options);
    this.call = client.makeBidiStreamRequest('/streamcell.v1.CellService/Exchange', encodeBatch, decodeBatch);
    this.call.on('data', (frames) => {
      this.heardAt = performance.now();
      frames.forEach((frame) => this.handle(frame.kind, frame[frame.kind]));
    });
    this.call.on('drain', () => this.pump());
    this.call.on('error', (error) => this.fail(error));
    this.call.on('end', () => this.fail(new Error('the lane ended')));
    // What came while this program computed is read before the watch is kept.
    const timer = setInterval(() => setImmediate(() => this.watch()), this.pingMs / 10);
    this.call.on('status', () => clearInterval(timer) ?? client.close());
    const version = { version_min: 1, version_max: 1, fqcn: this.fqcn, incarnation: this.incarnation };
    const lane = { lane_number: 1, lane_role: 'LANE_ROLE_CONTROL', lanes_held: [1], initial_credit: INITIAL_CREDIT };
    this.post('hello', { ...version, ...lane, limits: { message_bytes: MESSAGE_BYTES, lanes: 1 } });
    setTimeout(() => this.peer ?? this.call.cancel(), 30_000).unref();
    return Promise.race([this.ended, new Promise((resolve) => Object.assign(this, { welcome: resolve }))]);
  }

  /** Sends a 'BLOB' or 'STREAM', once linked; resolves to its size when the target has all. No `size`: not known. */
  send(kind, target, channel, topic, { headers = {}, size, read }) {
    const stream_id = String(++this.lastId);
    const stream = { origin: this.fqcn, origin_incarnation: this.incarnation, target, stream_id, attempt: 1 };
    const open = { kind: `STREAM_KIND_${kind}`, size, headers: toHeaders(headers), idle_timeout_s: 300 };
    if (target === this.peer.origin) open.target_incarnation = this.peer.origin_incarnation;
    const sender = new Sender(this, { stream, channel, topic }, open, read);
    this.senders.set(stream_id, sender);
    sender.start();
    this.pump();
    return sender.outcome;
  }

  /** Lets callbacks finish that have all, ends what is open, says Goodbye, and waits for the end of the lane. */
  async close() {
    await Promise.all([...this.receivers.values()].map(({ isWhole, work }) => isWhole && work));
    const sentence = `${this.fqcn} is stopping`;
    const receivers = [...this.receivers.values()].filter(({ callback }) => callback);
    for (const open of [...this.senders.values(), ...receivers]) open.giveUp('STOPPING', sentence);
    this.post('goodbye', { code: 'ERROR_CODE_STOPPING', sentence });
    this.call.end();
    setTimeout(() => this.call.cancel(), 3000).unref();
    await this.ended.catch(() => {});
  }

  /** Writes a frame, with what frames say of their sender and their way. The codec leaves out what its kind has not. */
  post(kind, fields) {
    const common = { reporter: this.fqcn, target_incarnation: this.incarnation, hops_left: 16 };
    this.call.write([{ [kind]: { ...fields, ...common } }]);
  }

  /** Sends what may go now, a chunk of each stream in turn: one that has sent goes to the end of the line. */
  pump() {
    for (const [id, sender] of this.senders) {
      const room = SHARED_LANE_BYTES - (this.sent - this.read);
      const chunk = this.call.writableNeedDrain ? null : sender.next(room);
      if (chunk === null) continue;
      this.sent += chunk.payload.length;
      this.senders.delete(id);
      this.senders.set(id, sender);
      this.post('chunk', chunk);
      if (this.sent - this.marked >= MARK_BYTES) this.ping();
    }
  }

  /** Its Pong says that the neighbour has read all that was put on the lane before it. */
  ping() {
    const nonce = String(++this.lastNonce);
    this.marks.set(nonce, this.sent);
    this.marked = this.sent;
    this.post('ping', { nonce, settled_below: this.lowestUnsettled() });
  }

  on_pong({ nonce }) {
    this.read = Math.max(this.read, this.marks.get(nonce) ?? 0);
    this.marks.delete(nonce);
    this.pump();
  }

  /** Pings a lane that is silent, and drops it if it stays so. */
  watch() {
    const [now, isAnswered] = [performance.now(), this.heardAt >= this.pingedAt];
    const patienceMs = this.senders.size > 0 ? this.pingMs : this.idlePingMs;
    const dueAt = isAnswered ? this.heardAt + patienceMs : this.pingedAt + this.answerMs;
    if (!this.peer || now < dueAt) return;
    if (!isAnswered) return this.drop(new Error(`${this.peer.origin} does not answer: the lane is dropped`));
    this.pingedAt = now;
    this.ping();
  }

  lowestUnsettled() {
    return Math.min(this.lastId + 1, ...this.senders.keys());
  }

  drop(error) {
    this.fail(error);
    this.call.cancel();
  }

  fail(error) {
    this.reject(error);
    for (const sender of this.senders.values()) sender.settle(error);
  }

  handle(kind, frame) {
    if (!this.peer && !['hello', 'goodbye'].includes(kind)) {
      this.drop(new Error(`the first frame is a ${kind}, not a hello`));
    } else if (!frame.stream) {
      this[`on_${kind}`]?.(frame);
    } else if (frame.stream.origin_incarnation === this.incarnation) {
      this.senders.get(frame.stream.stream_id)?.[`on_${kind}`]?.(frame);
      this.pump();
    } else if (['chunk', 'resume_query', 'reset'].includes(kind)) {
      this.receive(kind, frame);
    }
  }

  /** Takes a frame of a stream that comes in; docs/wire.md has this as a table. */
  receive(kind, frame) {
    const { stream, open } = frame;
    const isReset = kind === 'reset'; // which has no answer
    if (!isReset && stream.target !== this.fqcn) return this.post('lost', { stream, reason: 'LOST_REASON_NO_ROUTE' });
    if (stream.stream_id === '0') return; // it shows which life of the cell is there, and wants no answer
    if (open) this.forget(stream, open.settled_below);
    const receiver = this.receivers.get(keyOf(stream)) ?? new Receiver(this, stream);
    if (!isReset && receiver.lastWord) return receiver.lastWord(stream);
    const isStale = BigInt(stream.stream_id) < (this.settled.get(lifeOf(stream)) ?? 0n);
    if (!isReset && isStale) return receiver.giveUp('STALE', `stream ${stream.stream_id} was settled`);
    receiver[`on_${kind}`](frame);
    if (receiver.callback || receiver.lastWord || receiver.isAsked) this.receivers.set(keyOf(stream), receiver);
  }

  /** Forgets an origin's streams below that id: they are settled there. */
  forget(origin, below) {
    if (BigInt(below) <= (this.settled.get(lifeOf(origin)) ?? 0n)) return;
    this.settled.set(lifeOf(origin), BigInt(below));
    for (const [key, { stream }] of this.receivers) {
      if (lifeOf(stream) === lifeOf(origin) && BigInt(stream.stream_id) < BigInt(below)) this.receivers.delete(key);
    }
  }

  on_hello({ fqcn, incarnation, initial_credit }) {
    this.peer = { origin: fqcn, origin_incarnation: incarnation };
    this.initialCredit = Math.min(INITIAL_CREDIT, Number(initial_credit));
    this.welcome(fqcn);
  }

  on_ping({ nonce, settled_below }) {
    this.post('pong', { nonce });
    this.forget(this.peer, settled_below);
  }

  on_query({ query_id, asker, subject }) {
    const cells = [{ fqcn: this.fqcn, incarnation: this.incarnation }];
    if (['', this.fqcn].includes(subject)) this.post('query_reply', { query_id, asker, responder: this.fqcn, cells });
  }

  on_goodbye({ code, sentence }) {
    this.fail(new Error(`${code}: ${sentence}`));
    this.call.end();
  }
}

const lifeOf = ({ origin, origin_incarnation: incarnation }) => `${origin} ${incarnation}`;
const keyOf = (stream) => `${lifeOf(stream)} ${stream.stream_id}`;
