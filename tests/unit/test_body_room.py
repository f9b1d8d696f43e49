"""Large bodies have a bounded room, of which one project has a share; what is counted is given back."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import ExitStack, closing

import pytest

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.pending import Pending
from millimetric_server.shares.body_room import SMALL_BYTES, BodyRoom, Hold

_MIB = 1024 * 1024


def test_a_project_has_a_quarter_of_the_room() -> None:
    room = BodyRoom(16 * _MIB)
    with closing(Hold(room, "shop")) as first, closing(Hold(room, "shop")) as second:
        first.grow(4 * _MIB)
        second.grow(SMALL_BYTES)
        with pytest.raises(AppError) as caught:
            second.grow(4 * _MIB)
        assert (caught.value.reason, caught.value.retry_after_s) == (Reason.OVERLOADED, 1.0)
        with closing(Hold(room, "other")) as third:
            third.grow(4 * _MIB)
    with closing(Hold(room, "shop")) as hold:
        hold.grow(4 * _MIB)


def test_the_room_is_full_for_all() -> None:
    room = BodyRoom(4 * _MIB)
    holds = [closing(Hold(room, str(number))) for number in range(5)]
    for hold in holds[:4]:
        hold.__enter__().grow(_MIB + SMALL_BYTES)
    with pytest.raises(AppError), holds[4] as last:
        last.grow(_MIB)
    holds[0].__exit__(None, None, None)
    with closing(Hold(room, "4")) as again:
        again.grow(_MIB)


def test_small_bodies_are_not_counted() -> None:
    room = BodyRoom(1)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(closing(Hold(room, "shop"))).grow(SMALL_BYTES)


def test_a_body_whose_call_has_ended_grows_no_more() -> None:
    """A thread may still unpack it."""
    room = BodyRoom(16 * _MIB)
    with closing(Hold(room, "shop")) as hold:
        hold.grow(_MIB)
    with pytest.raises(AppError):
        hold.grow(1)


def test_there_is_always_room_for_one_body_packed_and_unpacked() -> None:
    with closing(Hold(BodyRoom(1, 16 * _MIB), "shop")) as hold:
        hold.grow(16 * _MIB)
        hold.grow(16 * _MIB)


async def _note_threads(threads: list[str]) -> str:
    threads.append(threading.current_thread().name)
    waiting: Future[int] = Future()
    waiting.set_result(2)
    threads.append(str(await Pending(waiting)))
    return threading.current_thread().name


def test_a_coroutine_is_begun_in_a_thread_and_goes_on_elsewhere() -> None:
    threads: list[str] = []

    async def run() -> None:
        coroutine = _note_threads(threads)
        begun = await BodyRoom().begin("shop", coroutine)
        with pytest.raises(StopIteration) as ended:
            coroutine.send(begun().result())
        assert ended.value.value == threading.current_thread().name

    asyncio.run(run())
    assert threads[0].startswith("body")
    assert threads[1] == "2"


async def _end() -> str:
    return "done"


async def _fail() -> str:
    raise ValueError("bad")


def test_a_coroutine_that_ends_at_once_or_fails_does_so_for_its_caller() -> None:
    async def run() -> None:
        begun = await BodyRoom().begin("shop", _end())
        with pytest.raises(StopIteration) as ended:
            begun()
        assert ended.value.value == "done"
        with pytest.raises(ValueError, match="bad"):
            await BodyRoom().begin("shop", _fail())

    asyncio.run(run())


class _Begun:
    """A coroutine that takes long in its thread, and then waits for what never comes."""

    def __init__(self) -> None:
        self.has_begun, self.may_go_on, self.has_ended = threading.Event(), threading.Event(), threading.Event()

    async def run(self) -> None:
        try:
            self.has_begun.set()
            self.may_go_on.wait(30)
            await Pending(Future[None]())
        finally:
            self.has_ended.set()


def test_a_coroutine_whose_caller_is_gone_is_ended_behind_its_first_step() -> None:
    async def run() -> None:
        begun = _Begun()
        task = asyncio.create_task(BodyRoom().begin("shop", begun.run()))
        await asyncio.to_thread(begun.has_begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not begun.has_ended.is_set()
        begun.may_go_on.set()
        assert await asyncio.to_thread(begun.has_ended.wait, 30)

    asyncio.run(run())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("owner", ["busy", "other"], ids=["waits for its turn", "waits for a thread"])
def test_a_coroutine_whose_caller_is_gone_before_its_turn_never_begins(owner: str) -> None:
    async def run() -> None:
        room, busy, late = BodyRoom(), [_Begun() for _ in range(4)], _Begun()
        owners = ("busy", "busy", "third", "third")
        tasks = [
            asyncio.create_task(room.begin(*pair)) for pair in zip(owners, (one.run() for one in busy), strict=True)
        ]
        for one in busy:
            await asyncio.to_thread(one.has_begun.wait, 30)
        task = asyncio.create_task(room.begin(owner, late.run()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for one in busy:
            one.may_go_on.set()
        await asyncio.gather(*tasks)
        room.close()
        assert not late.has_begun.is_set()

    asyncio.run(run())


def test_a_project_that_reads_much_leaves_threads_to_others() -> None:
    release = threading.Event()

    async def wait() -> None:
        release.wait(30)

    async def run() -> None:
        room = BodyRoom()
        busy = [asyncio.create_task(room.begin("shop", wait())) for _ in range(20)]
        await asyncio.sleep(0.1)
        other = _note_threads([])
        await asyncio.wait_for(room.begin("other", other), 20)
        other.close()
        assert not any(task.done() for task in busy)
        release.set()
        await asyncio.gather(*busy)

    asyncio.run(run())
