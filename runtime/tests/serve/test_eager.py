import asyncio

import pytest

from bedside_runtime.serve import eager, event_loop


async def some_turns() -> None:
    """Let the loop go on until nothing of what is going on here is left to do: time would say nothing about that."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_waits_for_nothing_has_ended_when_start_returns_and_never_was_a_task() -> None:
    async def main() -> None:
        seen: list[object] = []

        async def work() -> None:
            seen.append(asyncio.all_tasks() - {asyncio.current_task()})

        waiting: set[eager.Waiting] = set()
        eager.start(asyncio.get_running_loop(), work(), waiting)
        assert seen == [set()]
        assert not waiting

    event_loop.run(main())


def test_what_waits_is_kept_until_it_has_ended_and_goes_on_with_what_it_waited_for() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        seen: list[object] = []

        async def work() -> None:
            seen.append(await first)
            await asyncio.sleep(0)
            seen.append(await second)

        waiting: set[eager.Waiting] = set()
        eager.start(loop, work(), waiting)
        first.set_result(1)
        await some_turns()
        assert seen == [1]
        assert len(waiting) == 1
        second.set_result(2)
        await some_turns()
        assert seen == [1, 2]
        assert not waiting

    event_loop.run(main())


def test_a_failure_of_what_is_waited_for_and_a_cancellation_reach_the_place_that_waits() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        failing, never = loop.create_future(), loop.create_future()
        seen: list[str] = []

        async def work() -> None:
            try:
                await failing
            except ValueError:
                seen.append("failed")
            try:
                await never
            except asyncio.CancelledError:
                seen.append("cancelled")
                await asyncio.sleep(0)
            seen.append("ended")

        waiting: set[eager.Waiting] = set()
        eager.start(loop, work(), waiting)
        (one,) = waiting
        failing.set_exception(ValueError())
        await some_turns()
        assert one.cancel(msg="the grace is over")
        await some_turns()
        assert seen == ["failed", "cancelled", "ended"]
        assert not waiting

    event_loop.run(main())


def test_an_error_behind_a_wait_is_told_to_the_loop_and_nothing_is_waited_for_any_more() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[object] = []
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        waited = loop.create_future()

        async def work() -> None:
            await waited
            raise ValueError

        waiting: set[eager.Waiting] = set()
        eager.start(loop, work(), waiting)
        waited.set_result(None)
        await some_turns()
        assert [type(error) for error in told] == [ValueError]
        assert not waiting

    event_loop.run(main())


def test_an_error_before_the_first_wait_is_the_caller_s() -> None:
    async def main() -> None:
        async def work() -> None:
            raise ValueError

        with pytest.raises(ValueError):
            eager.start(asyncio.get_running_loop(), work(), set())

    event_loop.run(main())
