// A minimal cell: docs/wire.md, "What a minimal cell must do". It dials one other cell on one lane, and when the lane
// ends, so does all that it carried. README.md says what a cell in production would add.
'use strict';

const crypto = require('node:crypto');
const grpc = require('@grpc/grpc-js');
const { Receiver, Sender } = require('./streams');
const { HOPS, INITIAL_CREDIT, KIB, MESSAGE_BYTES, decodeBatch, encodeBatch, toHeaders } = require('./wire');

const SHARED_LANE_BYTES = 256 * KIB;

/** The cell. Register callbacks, then `connect`, then `send`. */
class Cell {
  constructor(fqcn) {
    // Start time in milliseconds times 2^20, plus 20 random bits.
    const incarnation = String((BigInt(Date.now()) << 20n) | BigInt(crypto.randomInt(1 << 20)));
    Object.assign(this, { fqcn, incarnation, lastId: 0, senders: new Map() });
    Object.assign(this, { callbacks: new Map(), receivers: new Map(), settled: new Map() });
    // Rejects when the lane has ended.
    this.ended = new Promise((_, reject) => Object.assign(this, { reject }));
    this.ended.catch(() => {});
  }

  /** `callback(bytes, stream)` gets a 'BLOB', `callback(piece, stream, last)` the pieces of a 'STREAM', also async. */
  register(kind, channel, topic, callback) {
    this.callbacks.set(`STREAM_KIND_${kind} ${channel}/${topic}`, callback);
  }

  /** Dials HOST:PORT and waits for the Hello of the cell there; resolves to its name. */
  connect(address) {
    this.client = new grpc.Client(address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': MESSAGE_BYTES, // the default is less
      'grpc.keepalive_time_ms': 30_000,
    });
    this.call = this.client.makeBidiStreamRequest('/streamcell.v1.CellService/Exchange', encodeBatch, decodeBatch);
    this.call.on('data', (frames) => frames.forEach((frame) => this.handle(frame.kind, frame[frame.kind])));
    this.call.on('drain', () => this.pump());
    this.call.on('error', (error) => this.fail(error));
    this.call.on('end', () => this.fail(new Error('the lane ended')));
    this.call.on('status', () => this.client.close());
    const version = { version_min: 1, version_max: 1, fqcn: this.fqcn, incarnation: this.incarnation };
    const lane = { lane_number: 1, lane_role: 'LANE_ROLE_CONTROL', lanes_held: [1], initial_credit: INITIAL_CREDIT };
    this.post({ hello: { ...version, ...lane, limits: { message_bytes: MESSAGE_BYTES, lanes: 1 } } });
    setTimeout(() => this.peer ?? this.call.cancel(), 3000).unref();
    return Promise.race([this.ended, new Promise((resolve) => Object.assign(this, { welcome: resolve }))]);
  }

  /** Sends a 'BLOB' or 'STREAM', once linked; resolves to its size when the target has all. No `size`: not known. */
  send(kind, target, channel, topic, { headers = {}, size, read }) {
    const stream_id = String(++this.lastId);
    const stream = { origin: this.fqcn, origin_incarnation: this.incarnation, target, stream_id, attempt: 1 };
    const settled_below = Math.min(this.lastId, ...this.senders.keys());
    const open = { kind: `STREAM_KIND_${kind}`, size, headers: toHeaders(headers), idle_timeout_s: 300, settled_below };
    const sender = new Sender(this, stream, { channel, topic }, open, read);
    this.senders.set(stream_id, sender);
    this.pump();
    return sender.outcome;
  }

  /** Lets callbacks finish that have all, ends what is open, says Goodbye, and waits for the end of the lane. */
  async close() {
    await Promise.all([...this.receivers.values()].map(({ isWhole, work }) => isWhole && work));
    const sentence = `${this.fqcn} is stopping`;
    for (const open of [...this.senders.values(), ...this.receivers.values()]) open.giveUp?.('STOPPING', sentence);
    this.post({ goodbye: { code: 'ERROR_CODE_STOPPING', sentence } });
    this.call.end();
    setTimeout(() => this.call.cancel(), 3000).unref();
    await this.ended.catch(() => {});
  }

  post(frame) {
    this.call.write([frame]);
  }

  postLost(stream, reason) {
    this.post({ lost: { stream, reason, reporter: this.fqcn, ...HOPS } });
  }

  /** Sends what may go now, a chunk of each stream in turn: one that has sent goes to the end of the line. */
  pump() {
    let room = SHARED_LANE_BYTES;
    for (const { isBulk, offset, received } of this.senders.values()) room -= isBulk ? offset - received : 0;
    for (const [id, sender] of this.senders) {
      const chunk = this.call.writableNeedDrain ? null : sender.next(room);
      if (chunk === null) continue;
      if (sender.isBulk) room -= chunk.payload.length;
      this.senders.delete(id);
      this.senders.set(id, sender);
      this.post({ chunk });
    }
  }

  settle(sender, error) {
    this.senders.delete(sender.stream.stream_id);
    if (error) sender.reject(error);
    else sender.resolve(sender.end);
  }

  fail(error) {
    this.reject(error);
    for (const sender of this.senders.values()) this.settle(sender, error);
  }

  handle(kind, frame) {
    if (this.peer || ['hello', 'goodbye'].includes(kind)) return this[`on_${kind}`]?.(frame);
    this.fail(new Error(`the first frame is a ${kind}, not a hello`));
    this.call.cancel();
  }

  // Frames about the link.

  on_hello({ fqcn, incarnation, initial_credit }) {
    this.peer = { origin: fqcn, origin_incarnation: incarnation };
    this.initialCredit = Math.min(INITIAL_CREDIT, Number(initial_credit));
    this.welcome(fqcn);
  }

  on_ping({ nonce, settled_below }) {
    this.post({ pong: { nonce } });
    this.forget(this.peer, settled_below);
  }

  on_query({ query_id, asker, subject }) {
    const cells = [{ fqcn: this.fqcn, incarnation: this.incarnation }];
    const reply = { query_id, asker, responder: this.fqcn, cells, ...HOPS };
    if (['', this.fqcn].includes(subject)) this.post({ query_reply: reply });
  }

  on_goodbye({ code, sentence }) {
    this.fail(new Error(`${code}: ${sentence}`));
    this.call.end();
  }

  // Frames about streams that this cell sends.

  senderOf({ origin_incarnation, stream_id }) {
    return origin_incarnation === this.incarnation ? this.senders.get(stream_id) : undefined;
  }

  on_credit({ stream, offset }) {
    const sender = this.senderOf(stream);
    if (sender) Object.assign(sender, { credit: Math.max(sender.credit, Number(offset)), hasCredit: true });
    this.pump();
  }

  on_ack({ stream, received, consumed, complete }) {
    const sender = this.senderOf(stream);
    if (sender) sender.received = Math.max(sender.received, Number(received));
    if (sender && complete && Number(consumed) === sender.end) this.settle(sender);
    this.pump();
  }

  on_lost({ stream, reason }) {
    this.senderOf(stream)?.giveUp('RESUME', `a chunk was lost (${reason}), and this cell does not send again`);
  }

  on_reset(reset) {
    const { stream, from_target, code, sentence } = reset;
    const sender = this.senderOf(stream);
    if (from_target && sender) this.settle(sender, new Error(`${code}: ${sentence}`));
    if (from_target) return;
    // It may come before the first chunk, which must then not be delivered.
    const receiver = this.receivers.get(keyOf(stream)) ?? { stream };
    receiver.lastWord ??= (again) => ({ reset: { ...reset, stream: again, from_target: true } });
    this.receivers.set(keyOf(stream), receiver);
  }

  // Frames about streams that this cell receives.

  on_chunk(chunk) {
    const { stream, open, channel, topic } = chunk;
    if (stream.target !== this.fqcn) return this.postLost(stream, 'LOST_REASON_NO_ROUTE');
    if (open) this.forget(stream, open.settled_below);
    if (this.hasEnded(stream)) return;
    if (!this.receivers.has(keyOf(stream))) {
      if (!open || chunk.offset !== '0') return this.postLost(stream, 'LOST_REASON_UNKNOWN_HERE');
      const callback = this.callbacks.get(`${open.kind} ${channel}/${topic}`);
      const receiver = new Receiver(this, chunk, callback);
      this.receivers.set(keyOf(stream), receiver);
      if (!callback) return receiver.giveUp('NO_CALLBACK', `${this.fqcn} has no callback for ${channel}/${topic}`);
    }
    this.receivers.get(keyOf(stream)).take(chunk);
  }

  on_resume_query({ stream, probe }) {
    if (stream.target !== this.fqcn) return this.postLost(stream, 'LOST_REASON_NO_ROUTE');
    const receiver = this.receivers.get(keyOf(stream));
    if (this.hasEnded(stream) || stream.attempt < receiver?.stream.attempt) return;
    if (receiver && !probe) receiver.enter(stream, receiver.received);
    const answer = { unknown: !receiver, offset: receiver?.received ?? 0, probe };
    this.post({ resume_reply: { stream, target_incarnation: this.incarnation, ...answer, ...HOPS } });
    receiver?.speak();
  }

  /** Returns whether a stream has ended, and says so to its origin, which seems not to know. */
  hasEnded(stream) {
    const lastWord = this.receivers.get(keyOf(stream))?.lastWord;
    const isStale = BigInt(stream.stream_id) < (this.settled.get(lifeOf(stream)) ?? 0n);
    const reset = { stream, from_target: true, code: 'ERROR_CODE_STALE', fault: 'FAULT_ORIGIN', ...HOPS };
    if (lastWord) this.post(lastWord(stream));
    else if (isStale) this.post({ reset: { ...reset, sentence: `stream ${stream.stream_id} was settled` } });
    return isStale || lastWord !== undefined;
  }

  /** Forgets an origin's streams below that id: they are settled there. */
  forget(origin, below) {
    if (BigInt(below) <= (this.settled.get(lifeOf(origin)) ?? 0n)) return;
    this.settled.set(lifeOf(origin), BigInt(below));
    for (const [key, { stream }] of this.receivers) {
      if (lifeOf(stream) === lifeOf(origin) && BigInt(stream.stream_id) < BigInt(below)) this.receivers.delete(key);
    }
  }
}

const lifeOf = ({ origin, origin_incarnation: incarnation }) => `${origin} ${incarnation}`;
const keyOf = (stream) => `${lifeOf(stream)} ${stream.stream_id}`;

module.exports = { Cell };
