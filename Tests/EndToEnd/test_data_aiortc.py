# SPDX-License-Identifier: Apache-2.0
"""Data channels of aiortc, whose SCTP is written in Python, to a master that gives every message back."""

import asyncio
import random

import pytest
from aiortc import RTCPeerConnection

from aiortc_viewer import run, viewing
from data_channels import KINDS, SIZES, connection
from programs import PATIENCE_SECONDS

LIMIT = 256 * 1024
"""Bytes of the longest message that the master takes."""

HIGH_WATER = 1 << 20
"""Bytes that are handed to aiortc ahead of what it sends."""


class Channel:
    """A channel whose events can be waited for."""

    def __init__(self, pc, label, **options):
        self.channel = pc.createDataChannel(label, **options)
        self.inbox = asyncio.Queue()
        self.changed = asyncio.Event()
        self.channel.on("message", self.inbox.put_nowait)
        for event in ("open", "close", "bufferedamountlow"):
            self.channel.on(event, self.changed.set)

    async def until(self, condition, what):
        async def wait():
            while not condition():
                self.changed.clear()
                await self.changed.wait()
        try:
            await asyncio.wait_for(wait(), PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self.channel.label[:40]}: {what} not within {PATIENCE_SECONDS} s") from None

    async def opened(self):
        await self.until(lambda: self.channel.readyState == "open", "open")
        return self

    async def close(self):
        self.channel.close()
        await self.until(lambda: self.channel.readyState == "closed", "closed")

    async def next(self):
        return await asyncio.wait_for(self.inbox.get(), PATIENCE_SECONDS)

    async def echo(self, message):
        self.channel.send(message)
        answer = await self.next()
        assert type(answer) is type(message) and answer == message, f"{len(message)} came back as {len(answer)}"

    async def drained(self):
        self.channel.bufferedAmountLowThreshold = HIGH_WATER // 2
        if self.channel.bufferedAmount > HIGH_WATER:
            await self.until(lambda: self.channel.bufferedAmount <= HIGH_WATER // 2, "drained")


def content(length, seed):
    return random.Random(seed).randbytes(length)


async def every_kind(pc):
    for kind in KINDS:
        channel = await Channel(pc, f"{kind}", **kind).opened()
        for text in ("", "a", "Grüße, 世界 🎥", "\0"):
            await channel.echo(text)
        for length in SIZES:
            await channel.echo(content(length, length))
        await channel.close()


async def longest(pc):
    channel = await Channel(pc, "longest").opened()
    await channel.echo(content(LIMIT, 1))
    with pytest.raises(ValueError):
        channel.channel.send(bytes(LIMIT + 1))
    await channel.echo("still here")
    await channel.close()


async def names(pc):
    """ASCII alone, for aiortc 1.16 counts the characters of names where it has to count bytes (RFC 8832 §5.1)."""
    for label, protocol in [("", ""), ("front door", "weather.example/1"), ("x" * 65_535, "y" * 65_535)]:
        channel = await Channel(pc, label, protocol=protocol).opened()
        await channel.echo("x")
        await channel.close()


async def turns(pc):
    ids = set()
    for index in range(1000):
        channel = await Channel(pc, f"turn {index}").opened()
        await channel.echo(f"used once, {index}")
        ids.add(channel.channel.id)
        await channel.close()
    assert len(ids) <= 2, "a stream serves again once its channel is closed"


async def crowd(pc):
    channels = [Channel(pc, f"one of many, {index}") for index in range(250)]
    await asyncio.gather(*(channel.opened() for channel in channels))
    assert len({channel.channel.id for channel in channels}) == 250
    await asyncio.gather(*(channel.echo(content(1 + index * 7, index)) for index, channel in enumerate(channels)))
    await asyncio.gather(*(channel.close() for channel in channels))


async def bulk(pc, megabytes):
    channel = await Channel(pc, "bulk").opened()
    count, length = megabytes * 16, 64 * 1024

    async def send():
        for index in range(count):
            await channel.drained()
            channel.channel.send(content(length, index))

    async def receive():
        for index in range(count):
            assert await channel.next() == content(length, index), f"message {index}"

    await asyncio.gather(send(), receive())
    await channel.close()


async def close_in_the_middle(pc):
    channel = await Channel(pc, "cut short").opened()
    for index in range(64):
        channel.channel.send(content(64 * 1024, index))
    await channel.next()
    await channel.close()
    await (await Channel(pc, "after that").opened()).echo("x")


async def connected(url, part, *arguments):
    pc = RTCPeerConnection()
    first = Channel(pc, "first")
    async with viewing(url, pc):
        await first.opened()
        await part(pc, *arguments)
        await first.echo("the end")


@pytest.mark.parametrize("part", [every_kind, longest, names, turns, crowd, close_in_the_middle])
def test_aiortc(echoing_master, service, part):
    run(connected(connection(service, echoing_master.channel)["url"], part))


@pytest.mark.parametrize("megabytes", [8, pytest.param(100, marks=pytest.mark.long)])
def test_bulk_both_ways(echoing_master, service, megabytes):
    """Bytes go out and come back at the same time, and each message is compared with what was sent."""
    run(connected(connection(service, echoing_master.channel)["url"], bulk, megabytes))
