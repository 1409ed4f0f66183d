"""The limits of protocol version 1, each with its reason.

A peer cannot raise any of them. What an application may choose within them is in ``config.py``.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

PROTOCOL_VERSION = 1

# A chunk's payload: every cell accepts it, so a path of relays needs no negotiation. Larger brings no speed.
CHUNK_PAYLOAD_BYTES = 4 * MIB
# Encoded headers of a stream: they travel in one frame together with a payload.
HEADERS_BYTES = 1 * MIB
# A gRPC message: the largest payload, the largest headers, and a margin for the other fields.
MESSAGE_BYTES = 6 * MIB
# Bytes of one message that are in no known field: room for what later versions add, and none to hide in.
UNKNOWN_BYTES = 64 * KIB
# What a writer puts into one batch unless a single frame is larger: enough to make per-message costs small, little
# enough to keep control frames from waiting behind it.
BATCH_BYTES = 256 * KIB
# Frames in one batch: bounds the work and the objects that one message makes.
BATCH_FRAMES = 4096
# What a writer puts into one batch: the other side works on it while the next one is made. With ever larger ones two
# busy cells take turns at being idle.
WRITTEN_FRAMES = 128
# Credit with which an attempt starts before the next hop has said anything.
INITIAL_CREDIT_BYTES = 256 * KIB
# A stream of at most this size travels on the control lane. Larger ones, and those of unknown size, are bulk.
SMALL_STREAM_BYTES = 64 * KIB
# Bulk in flight on a lane that also carries control: what a slow path drains within a heartbeat.
SHARED_LANE_IN_FLIGHT_BYTES = 256 * KIB
# One part of the handshake by which two cells agree on keys: certificates with some between them and their authority.
HANDSHAKE_FLIGHT_BYTES = 16 * KIB
# What sessions of keys are called: random, so that nobody meets the name of another.
ID_BYTES = 16
# Handshakes that others have begun here and that are under way, in all, over one link, and of one cell. A handshake
# takes a millisecond of a processor at each end; beyond them it is not answered, and is begun again.
HANDSHAKES = 64
HANDSHAKES_OF_NEIGHBOUR = 32
HANDSHAKES_OF_ONE = 4
# How long one may take, and for how long others are tried when one fails: parts are lost with a lane, and not repeated.
HANDSHAKE_S = 5.0
HANDSHAKES_S = 15.0
# How long a session is used for new streams. What is sealed under its keys is not much by then.
SESSION_S = 3600.0
# Since when nothing may have been heard under a session before what must not come twice begins with a question: of what
# was sent to a life that is over nothing proves that it has not got it.
SESSION_HEARD_S = 5.0
# Sessions that a cell keeps with one other, the newest: two handshakes may have crossed. And with all others: they are
# some 4 KiB each, and one that is missed is made anew.
SESSIONS_OF_ONE = 4
SESSIONS = 16_384
# A cell's name, as for host names.
FQCN_BYTES = 255
# A channel or a topic, and a resume id: names, not data.
NAME_BYTES = 255
# Runs of settled ids in one frame.
SETTLED_RUNS_BYTES = 256
SETTLED_RUNS = 16
# Streams to one target settled since it was told: what it has to remember of them is worth a frame then.
SETTLED_UNTOLD = 256
# Targets of which a cell knows how many streams have ended since they were told: what those remember in vain of this
# cell, when it has sent to so many others since, is less than the number above.
SETTLED_TARGETS = 10_000
# Streams and blobs that may be open from one origin to one target, and requests of which the reply is not settled. An
# origin opens no more, whatever it is configured to; a target takes a few more, since ends overtake each other.
STREAMS_OF_ORIGIN = 1024
REQUESTS_OF_ORIGIN = 256
STREAMS_IN_EXCESS = 64
REQUESTS_IN_EXCESS = 16
# Streams of one origin, or relayed ones of one neighbour, of which the initial credit is outside of any budget. That of
# others is counted against the budget of windows.
STREAMS_OF_FREE_CREDIT = 256
# Memory for the headers of each of those streams that is outside of any budget, too: more than most have.
FREE_HEADERS_BYTES = 16 * KIB
# What a header takes in memory beside the bytes of its key and value.
HEADER_OBJECTS_BYTES = 200
# How long a stream that has memory reserved may bring nothing, with a lane and credit, while others wait for memory.
# Of an origin that is only slow the next one has twice as long, up to the second number.
IDLE_RESERVATION_S = 10.0
MOST_IDLE_RESERVATION_S = 640.0
# Ended and asked-for streams that a target remembers of one life of an origin: an honest one says after each 256 ends
# which are settled, and has not many more than those that may be open.
REMEMBERED_STREAMS = 8192
# Runs of settled ids kept of one life: an honest origin tells about as many as it has streams open to the target.
SETTLED_RUNS_KEPT = 4096
# For how long more of the last words about one life are kept than that: an origin that tells nothing, as those of an
# earlier version do if they send bulk only and through relays, has asked about what it missed by then.
REMEMBERED_S = 60.0
# Lives of origins that are remembered though nothing leads to their cells any more. What comes late comes soon.
PAST_LIVES = 10_000
# The longest silence of an end of a stream that lives, whatever idle timeout was asked for: a quarter of the least that
# a cell may grant at most.
LIFE_SIGN_S = 75.0
LEAST_GRANTED_TIMEOUT_S = 300.0
# Hops that a routed frame may take: deeper trees are mistakes.
HOPS = 16
# Cells that a cell keeps a way to, and those of them that are behind one neighbour: bounds what announcements can make
# it hold, and leaves room for what others announce. What is beyond waits where it is announced from.
ROUTES = 50_000
ROUTES_OF_NEIGHBOUR = 10_000
# Announcements and withdrawals of one neighbour that are looked at, each second and at once: as many as when all behind
# it go and come back. What is beyond waits, the last word of each name.
ANNOUNCEMENTS_PER_S = 1000
ANNOUNCEMENTS_AT_ONCE = 20_000
# Streams that a cell relays at a time, those of them that come from one neighbour, and chunks of one of them that wait:
# credit bounds their bytes, these their number. Beyond, the origin is told so, and tries again later. What one
# neighbour may have of them leaves room for the others.
RELAYED_STREAMS = 50_000
RELAYED_STREAMS_OF_NEIGHBOUR = 8192
RELAYED_CHUNKS = 4096
# Seconds for which a relay keeps a stream of which it hears nothing, if its ends ask for more, or for no end at all.
# What is said of it later begins a new attempt.
RELAYED_SILENCE_S = 3600
# Answers that wait on one link, and Pongs on one lane: what a peer can make a cell hold by asking and not listening.
# What is beyond is not answered, and asked again; who has so many Pings on its way is cut off.
ANSWERS = 1024
# Words about streams that wait on one link, and of which no state is left here: the last ones of streams that have
# ended, and what other cells say of theirs. Beyond, they are dropped, and said again when somebody asks.
WORDS = 8192
# Questions about contested names that a cell has passed on for one link, and that are not answered: each is for 3 s.
CONTESTED_QUESTIONS = 1024
# Questions that one cell may ask over a link, each second and at once; beyond, they are dropped. A cell that was
# restarted asks one for each cell that it deals with.
QUESTIONS_PER_S = 50
QUESTIONS_AT_ONCE = 500
# The same for all cells behind a link together, since their names may be made up: as many as some thousand cells ask
# that come back at once, and in the long run no more than a small share of a processor answers.
LINK_QUESTIONS_PER_S = 1000
LINK_QUESTIONS_AT_ONCE = 10_000
# Cells behind one link of which it is remembered how much they have asked.
ASKERS = 1024
# Cells named in answers over one link, each second and at once: to write them costs far more than to ask.
CELLS_TOLD_PER_S = 10_000
CELLS_TOLD_AT_ONCE = 100_000
# How often the list of cells is made for those who ask, each second and at once. Others are told what it was last.
LISTINGS_PER_S = 1
LISTINGS_AT_ONCE = 16
# Lives of other cells that are remembered though there is neither a link nor a route to their cell: by them it is told
# what comes late from a life that is over. The oldest are forgotten first.
LIVES = 10_000
# Cells named in one answer to a query.
CELLS_TOLD = 256
# Chunks with a wrong checksum in one stream before it is given up: by then it is not chance.
CORRUPT_CHUNKS = 3
# Lanes of one link: more never paid in a benchmark.
LANES = 8
# A further lane names those that the dialler holds.
LANES_HELD = 64
# Seconds that a listener may tell a dialler to stay away. Longer ones are cut to this: one that lies, or something that
# only stands in its place, shall not keep a cell away for long.
RETRY_AFTER_S = 300
# Lanes that have arrived and whose Hello is being answered, at a time: enough to keep a cell busy, few enough that
# those who have a link are heard between them.
NEWCOMERS = 64
# Those beside them that may wait, with their Hello or before it: what a cell answers within the few seconds for which a
# dialler that knows no better waits. More are sent away, and told when to come again.
NEWCOMERS_WAITING = 1000
# Of them those of one address, so that it cannot keep all others out. Not counted for addresses of the same machine.
NEWCOMERS_OF_ONE_ADDRESS = 256
# Bytes that a source may put in its stamp.
SOURCE_STAMP_BYTES = 256
# A traceparent: version 00 has 55 characters, and later ones may be longer.
TRACEPARENT_BYTES = 256
# Capabilities named in a Hello.
CAPABILITIES = 64
# Most pieces of a received stream that wait for their predecessors: credit bounds their bytes, this their number.
OUT_OF_ORDER_CHUNKS = 1024
# Small source pieces are joined into one chunk up to this size; larger ones travel as they are.
COALESCE_BYTES = 64 * KIB
# Addresses of which it is remembered how many Hellos have come from there lately.
ADDRESSES = 1024
