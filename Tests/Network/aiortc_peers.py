# SPDX-License-Identifier: Apache-2.0
"""aiortc in a namespace: a whole peer in a thread whose sockets belong to that network."""

import asyncio
import threading


class Worker:
    """Runs a coroutine to its end in a thread inside `namespace`."""

    def __init__(self, namespace, coroutine):
        self._outcome = None
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(namespace, coroutine), daemon=True)
        self._thread.start()

    def _run(self, namespace, coroutine):
        try:
            with namespace.entered():
                self._outcome = asyncio.run(coroutine)
        except BaseException as error:  # pylint: disable=broad-except  (it is raised again in `result`)
            self._error = error

    def result(self, seconds=90):
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise AssertionError(f"not done within {seconds} s")
        if self._error is not None:
            raise self._error
        return self._outcome


def selected_pair(pc):
    """The candidate types of the pair in use: (local, remote)."""
    connection = pc.sctp.transport.transport._connection if pc.sctp else (
        pc.getTransceivers()[0].receiver.transport.transport._connection)
    pair = connection._nominated[1]
    return pair.local_candidate.type, pair.remote_candidate.type
