"""Large bodies have a bounded room, of which one project has a share; what is counted is given back."""

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.shares.body_room import SMALL_BYTES, BodyRoom

_MIB = 1024 * 1024


def test_a_project_has_a_quarter_of_the_room() -> None:
    room = BodyRoom(16 * _MIB)
    with room.hold("shop") as first, room.hold("shop") as second:
        first.grow(4 * _MIB)
        second.grow(SMALL_BYTES)
        with pytest.raises(AppError) as caught:
            second.grow(4 * _MIB)
        assert (caught.value.reason, caught.value.retry_after_s) == (Reason.OVERLOADED, 1.0)
        with room.hold("other") as third:
            third.grow(4 * _MIB)
    with room.hold("shop") as hold:
        hold.grow(4 * _MIB)


def test_the_room_is_full_for_all() -> None:
    room = BodyRoom(4 * _MIB)
    holds = [room.hold(str(number)) for number in range(5)]
    for hold in holds[:4]:
        hold.__enter__().grow(_MIB + SMALL_BYTES)
    with pytest.raises(AppError), holds[4] as last:
        last.grow(_MIB)
    holds[0].__exit__(None, None, None)
    with room.hold("4") as again:
        again.grow(_MIB)


def test_small_bodies_are_not_counted() -> None:
    room = BodyRoom(1)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(room.hold("shop")).grow(SMALL_BYTES)


def test_a_body_whose_call_has_ended_grows_no_more() -> None:
    """A thread may still unpack it."""
    room = BodyRoom(16 * _MIB)
    with room.hold("shop") as hold:
        hold.grow(_MIB)
    with pytest.raises(AppError):
        hold.grow(1)


def test_there_is_always_room_for_one_body_packed_and_unpacked() -> None:
    with BodyRoom(1, 16 * _MIB).hold("shop") as hold:
        hold.grow(16 * _MIB)
        hold.grow(16 * _MIB)


def _steps(threads: list[str]) -> Generator["Future[Any]", Any, Any]:
    threads.append(threading.current_thread().name)
    waiting: Future[Any] = Future()
    waiting.set_result(2)
    threads.append(str((yield waiting)))
    return threading.current_thread().name


def test_the_first_steps_are_taken_in_a_thread_and_the_others_are_not() -> None:
    threads: list[str] = []

    async def run() -> Any:
        steps = await BodyRoom().begin("shop", _steps(threads))
        value = next(steps).result()
        with pytest.raises(StopIteration) as ended:
            steps.send(value)
        return ended.value.value

    assert asyncio.run(run()) == threading.current_thread().name
    assert threads[0].startswith("body")
    assert threads[1] == "2"


def test_steps_that_end_at_once_or_fail_do_so_for_their_caller() -> None:
    def end() -> Generator["Future[Any]", Any, Any]:
        if threading.current_thread() is threading.main_thread():
            yield Future()
        return "done"

    async def run() -> Any:
        steps = await BodyRoom().begin("shop", end())
        with pytest.raises(StopIteration) as ended:
            next(steps)
        return ended.value.value

    assert asyncio.run(run()) == "done"


def test_a_project_that_reads_much_leaves_threads_to_others() -> None:
    release = threading.Event()

    def wait() -> Generator["Future[Any]", Any, Any]:
        release.wait(30)
        if release.is_set():
            return "late"
        yield Future()

    async def run() -> None:
        room = BodyRoom()
        busy = [asyncio.create_task(room.begin("shop", wait())) for _ in range(20)]
        await asyncio.sleep(0.1)
        steps = await asyncio.wait_for(room.begin("other", _steps([])), 20)
        steps.close()
        assert not any(task.done() for task in busy)
        release.set()
        await asyncio.gather(*busy)

    asyncio.run(run())
