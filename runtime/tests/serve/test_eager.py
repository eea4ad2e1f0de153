import asyncio

import pytest

from bedside_runtime.serve import eager


def test_what_waits_for_nothing_has_ended_when_start_returns_and_never_was_a_task() -> None:
    async def main() -> None:
        seen: list[object] = []

        async def work() -> None:
            seen.append(asyncio.all_tasks() - {asyncio.current_task()})

        tasks: set[asyncio.Task[None]] = set()
        eager.start(asyncio.get_running_loop(), work(), tasks)
        assert seen == [set()]
        assert not tasks

    asyncio.run(main())


def test_what_waits_goes_on_as_a_task_until_it_has_ended() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        seen: list[object] = []

        async def work() -> None:
            seen.append(await first)
            async with asyncio.timeout(5):
                seen.append(await second)

        tasks: set[asyncio.Task[None]] = set()
        eager.start(loop, work(), tasks)
        (task,) = tasks
        first.set_result(1)
        await asyncio.sleep(0.01)
        assert seen == [1]
        second.set_result(2)
        await task
        await asyncio.sleep(0)
        assert seen == [1, 2]
        assert not tasks

    asyncio.run(main())


def test_a_failure_of_what_is_waited_for_and_a_cancellation_reach_the_place_that_waits() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        waited = loop.create_future()
        seen: list[str] = []

        async def work() -> None:
            try:
                await waited
            except ValueError:
                seen.append("failed")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                await asyncio.sleep(0)
            seen.append("ended")

        tasks: set[asyncio.Task[None]] = set()
        eager.start(loop, work(), tasks)
        (task,) = tasks
        waited.set_exception(ValueError())
        await asyncio.sleep(0.01)
        task.cancel()
        await task
        assert seen == ["failed", "cancelled", "ended"]

    asyncio.run(main())


def test_an_error_before_the_first_wait_is_the_caller_s() -> None:
    async def main() -> None:
        async def work() -> None:
            raise ValueError

        with pytest.raises(ValueError):
            eager.start(asyncio.get_running_loop(), work(), set())

    asyncio.run(main())
