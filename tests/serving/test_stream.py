"""What a stream tells when: at once, or gathered where there are many, and nothing is late at the end."""

from __future__ import annotations

import asyncio

from mlsys.serving.stream import Piece, Stream


async def gathered(hold_s: float, written: int, ends: bool) -> list[Piece]:
    """The pieces of a stream into which a token is written whenever its reader waits."""
    stream = Stream()
    stream.hold_s = lambda: hold_s
    pieces: list[Piece] = []

    async def read() -> None:
        async for event in stream.events():
            assert isinstance(event, Piece)
            pieces.append(event)

    reader = asyncio.create_task(read())
    for number in range(written):
        stream.write(f"{number} ", 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    if not ends:
        await asyncio.sleep(2 * hold_s)
    stream.end()
    await asyncio.wait_for(reader, 5)
    return pieces


def test_each_token_comes_by_itself_where_nothing_holds_it() -> None:
    assert asyncio.run(gathered(0, 3, ends=True)) == [Piece("0 ", 1), Piece("1 ", 1), Piece("2 ", 1)]
    assert len(asyncio.run(gathered(0.0005, 3, ends=True))) == 3  # shorter than a hold is worth


def test_the_first_token_comes_at_once_and_the_later_ones_together_at_the_end_or_when_it_is_time() -> None:
    together = [Piece("0 ", 1), Piece("1 2 3 ", 3)]
    assert asyncio.run(gathered(60, 4, ends=True)) == together
    assert asyncio.run(gathered(0.01, 4, ends=False)) == together


def test_events_that_are_passed_on_are_gathered_as_well() -> None:
    async def passed() -> list[object]:
        stream = Stream()
        stream.hold_s = lambda: 60.0
        found: list[object] = []
        for event in (b"a", b"b", b"c"):
            stream.pass_on(event)
        events = stream.events()
        found.append(await anext(events))
        stream.pass_on(b"d")
        stream.pass_on(b"e")
        stream.end()
        return [*found, *[event async for event in events]]

    assert asyncio.run(passed()) == [b"abc", b"de"]
