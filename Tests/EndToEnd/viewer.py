# SPDX-License-Identifier: Apache-2.0
"""What the tests ask of an open viewer page, by counts from getStats() and never by the machine's speed."""

from programs import wait_for

STATISTICS = """async () => {
  const pc = window.kvs && window.kvs.pc;
  const report = pc ? await pc.getStats() : new Map();
  const found = {state: window.kvs ? window.kvs.state : "absent"};
  for (const entry of report.values()) {
    if (entry.type === "inbound-rtp") found[entry.kind] = entry;
    if (entry.type === "transport") found.transport = entry;
  }
  return found;
}"""


def statistics(page):
    return page.evaluate(STATISTICS)


def frames_decoded(page):
    return statistics(page).get("video", {}).get("framesDecoded", 0)


def wait_for_frames(page, count):
    """Waits until `count` frames were decoded and returns the statistics then."""
    def decoded():
        found = statistics(page)
        return found.get("video", {}).get("framesDecoded", 0) >= count and found
    try:
        return wait_for(decoded, f"{count} frames decoded")
    except AssertionError as error:
        raise AssertionError(f"{error}; the page says {statistics(page)}") from None


def wait_for_state(page, state, seconds=60):
    wait_for(lambda: page.evaluate("window.kvs && window.kvs.state") == state, f"page state {state}", seconds)
