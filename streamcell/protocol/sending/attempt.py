"""One attempt to send a stream.

The first is numbered 1. Each later one begins with a question to the target, where to go on, or with the way that a
stream takes when another one failed; it has its own number, on the wire too, so that what is late of an earlier one is
told from it. Frames of one attempt go one way, from the origin on.
"""

from __future__ import annotations


class Attempt:
    """What is true of the present attempt only; a new attempt is a new object.

    It begins twice: with its number (``following``), when the question is asked, and with its place (``begin_at``),
    when that was answered. In between it stands where the attempt before it stood, and nothing is sent. ``opened`` says
    that a chunk was sent since it has its place; ``last_sent`` and ``answered`` can only be true after that, but for an
    answer to the question, which does not count from ``begin_at`` on. ``asked`` says that the question was put on a
    lane: then the attempt has its way, as after its first chunk.

    :ivar allowed_by_next: the offset up to which the next hop lets it go.
    :ivar credit_heard: the highest offset of a Credit for this attempt; 0: none has come, and before the first one no
        chunk may cross ``allowed_by_next``.
    :ivar ceiling: the highest offset that was allowed in any attempt to the present life of the target; None before the
        first. Another attempt begins no further ahead: what was allowed before was counted against memory there.
    :ivar end_sent_before: whether an earlier attempt has sent the end.
    :ivar lanes_used: the lanes that carry frames of it, as far as they may not have arrived.
    :ivar question_due: whether it has to ask where to go on; ``life_sign_due``: whether it has to show that it lives.
    """

    __slots__ = (
        "allowed_by_next",
        "answered",
        "asked",
        "ceiling",
        "credit_heard",
        "end_sent_before",
        "lanes_used",
        "last_sent",
        "life_sign_due",
        "next_offset",
        "number",
        "opened",
        "question_due",
        "sequence",
    )

    def __init__(
        self,
        number: int = 1,
        *,
        next_offset: int = 0,
        allowed_by_next: int = 0,
        ceiling: int | None = None,
        end_sent_before: bool = False,
        question_due: bool = False,
    ) -> None:
        self.number = number
        self.sequence = 0
        self.next_offset = next_offset
        self.allowed_by_next = allowed_by_next
        self.credit_heard = 0
        self.ceiling = ceiling
        self.opened = False
        self.last_sent = False
        self.answered = False
        self.end_sent_before = end_sent_before
        self.lanes_used: tuple[int, ...] = ()
        self.question_due = question_due
        self.asked = False
        self.life_sign_due = False

    # Beginning.

    def following(self, *, question_due: bool = False) -> Attempt:
        """Return the attempt after this one."""
        return Attempt(
            self.number + 1,
            next_offset=self.next_offset,
            allowed_by_next=self.allowed_by_next,
            ceiling=self.ceiling,
            end_sent_before=self.end_sent,
            question_due=question_due,
        )

    def start_over(self, *, end_counts: bool) -> None:
        """Go on as the first attempt to a life of the target that does not know the stream.

        ``end_counts``: whether an end that was sent to an earlier life still is one that the target may have got.
        """
        self.ceiling = None
        self.end_sent_before = self.end_sent_before and end_counts

    def begin_at(self, offset: int, initial_credit: int, *, placed: bool) -> None:
        """Take ``offset`` as the place, and ``initial_credit`` as what may be sent before the first Credit.

        That goes no further than what this life of the target allowed before: see ``StreamReceiver``. Behind an offset
        that the target has chosen just now (not ``placed``) it is for the target to say how much of what it has is
        read. ``initial_credit`` is 0 where nobody can give any: while there is no way, or before an offset is chosen. A
        Credit may have overtaken the answer, and counts.
        """
        if not placed:
            self.ceiling = offset or None
        allowed = offset + initial_credit
        if self.ceiling is not None:
            allowed = min(allowed, max(self.ceiling, offset))
        self.allowed_by_next = max(allowed, self.credit_heard)
        if initial_credit > 0:
            self.ceiling = max(self.ceiling or 0, self.allowed_by_next)
        self.sequence = 0
        self.next_offset = offset
        self.opened = self.last_sent = self.answered = self.question_due = False

    # What the other side says.

    def extend(self, offset: int) -> None:
        """Take in a Credit."""
        self.credit_heard = max(self.credit_heard, offset)
        self.allowed_by_next = max(self.allowed_by_next, offset)
        self.ceiling = max(self.ceiling or 0, self.allowed_by_next)

    def note_answer(self) -> None:
        """The target has answered."""
        self.answered = True

    def note_refused(self) -> None:
        """It came to another life than it was for. Its first chunk comes before all others: no life has got its end."""
        self.last_sent = False

    # What is put on a lane, and what is due.

    def note_chunk(self, lane_id: int, end: int, *, last: bool) -> None:
        """A chunk up to ``end`` is put on a lane."""
        self.opened = True
        self.sequence += 1
        self.next_offset = end
        self.last_sent = last
        if lane_id not in self.lanes_used:
            self.lanes_used += (lane_id,)

    def take_question(self, lane_id: int) -> bool:
        """Put what is due on a lane; return whether it is the question, and not only a sign of life."""
        if lane_id not in self.lanes_used:
            self.lanes_used += (lane_id,)
        question = self.question_due
        self.asked = self.asked or question
        self.question_due = self.life_sign_due = False
        return question

    @property
    def says_something(self) -> bool:
        """Whether a question or a sign of life is due."""
        return self.question_due or self.life_sign_due

    def owe_question(self) -> None:
        """Ask, or ask again: that changes nothing at the target."""
        self.question_due = True

    def owe_life_sign(self) -> None:
        """Have it shown that this end lives, and asked whether the other one still knows the stream."""
        self.life_sign_due = True

    # What becomes of it.

    @property
    def end_sent(self) -> bool:
        """Whether this attempt or an earlier one has sent the end."""
        return self.last_sent or self.end_sent_before

    def is_unconfirmed(self, received: int) -> bool:
        """Return whether anything that it has sent, an end included, is not confirmed: all below ``received`` is.

        Without a Credit that it waits for it cannot know: the Ack may be one that answered the question.
        """
        if not self.opened:
            return False
        waits = self.credit_heard == 0 and self.next_offset >= self.allowed_by_next
        return self.next_offset > received or self.last_sent or not self.answered or waits

    def leave_way(self) -> None:
        """It goes another way: what becomes of the lanes that it used is no concern of its any more."""
        self.lanes_used = ()

    def leave_lane(self, lane_id: int) -> bool:
        """Use a lane no more, and return whether it did."""
        if lane_id not in self.lanes_used:
            return False
        self.lanes_used = tuple(used for used in self.lanes_used if used != lane_id)
        return True

    def pause(self) -> None:
        """Send nothing more of it: another one follows after a while."""
        self.opened = False
