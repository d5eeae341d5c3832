# SPDX-License-Identifier: Apache-2.0
"""Data channels through the real programs: the page's console in Chromium, and the viewer command in a shell pipe."""

import hashlib
import random
import subprocess
import time

import pytest

from programs import ACCESS_KEY, BINARY, PATIENCE_SECONDS, SECRET_KEY, Program, wait_for
from viewer import wait_for_frames, wait_for_state


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


# ---- The page --------------------------------------------------------------------------------------------------------

def console(page, what):
    return page.evaluate(f"kvs.console.{what}")


def open_console(page):
    wait_for(lambda: console(page, "isOpen"), "the channel is open")
    page.click("#console summary")


def lines(page, kind):
    return [line["text"] for line in console(page, "lines") if line["kind"] == kind]


def test_the_page_talks_to_a_master(start_master, open_viewer):
    """A text is answered, the round trip is shown, the log is text and not markup; and the picture goes on."""
    master = start_master("talk")
    page = open_viewer("talk")
    wait_for_frames(page, 5)
    open_console(page)
    text = "<b>grüße</b> & more"
    page.fill("#console-text", text)
    page.click("#console-send")
    answer = f"Received {len(text.encode())} bytes, ECHO: {text}"
    wait_for(lambda: answer in lines(page, "in"), "the answer")
    assert text in lines(page, "out")
    assert answer in page.inner_text("#console-log")
    assert page.input_value("#console-text") == ""
    wait_for(lambda: len(console(page, "roundTrips")) >= 3, "three measurements")
    assert all(0 < trip < 5000 for trip in console(page, "roundTrips"))
    for figure in ("last", "least", "median"):
        assert page.inner_text(f"#trip-{figure}").endswith(" ms")
    # Measurements are not part of the conversation, neither here nor in the camera's log.
    assert not any("firstMessage" in line["text"] for line in console(page, "lines"))
    wait_for(lambda: "a text came" in master.log_path.read_text(), "the master's log")
    wait_for_frames(page, 50)


def test_measurements_pause_with_the_panel(start_master, open_viewer):
    start_master("pause")
    page = open_viewer("pause")
    open_console(page)
    wait_for(lambda: len(console(page, "roundTrips")) >= 1, "a measurement")
    page.click("#console summary")
    sent = "kvs.pc.getStats().then((r) => [...r.values()].find((s) => s.label === 'rtt').messagesSent)"
    before = page.evaluate(sent)
    page.wait_for_timeout(2500)
    assert page.evaluate(sent) == before


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_file_comes_back_intact(start_master, open_viewer, size):
    start_master(f"file-{size}", "--data-echo")
    page = open_viewer(f"file-{size}")
    open_console(page)
    page.set_input_files(
        "#console-file", {"name": "noise.bin", "mimeType": "application/octet-stream", "buffer": noise(size)})
    wait_for(lambda: (console(page, "file") or {}).get("result"), "the file's end")
    file = console(page, "file")
    assert (file["size"], file["sent"], file["returned"]) == (size, size, size)
    assert file["result"].startswith("Came back intact"), file
    assert "intact" in page.inner_text("#console-file-state")
    # The next one may follow.
    wait_for(lambda: page.is_enabled("#console-file"), "the file button")


def test_a_file_to_a_master_that_does_not_echo(start_master, open_viewer):
    master = start_master("drop")
    page = open_viewer("drop")
    open_console(page)
    page.set_input_files(
        "#console-file", {"name": "noise.bin", "mimeType": "application/octet-stream", "buffer": noise(300_000)})
    wait_for(lambda: (console(page, "file") or {}).get("result"), "the file's end")
    assert console(page, "file")["result"].startswith("Sent: 300,000 bytes")
    wait_for(lambda: "a binary message came" in master.log_path.read_text(), "the master's log")


def test_a_master_without_data_channels(start_master, open_viewer):
    """It refuses them, the page says so, and the picture comes all the same."""
    start_master("mute", "--no-data-channels")
    page = open_viewer("mute")
    wait_for_frames(page, 25)
    wait_for_state(page, "live")
    assert not console(page, "isOpen")
    page.click("#console summary")
    assert page.is_disabled("#console-text") and page.is_disabled("#console-file")


def test_the_console_fits_a_phone(start_master, open_viewer):
    start_master("phone")
    page = open_viewer("phone")
    page.set_viewport_size({"width": 320, "height": 640})
    open_console(page)
    page.fill("#console-text", "x" * 500)
    page.click("#console-send")
    wait_for(lambda: lines(page, "in"), "the answer")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


AWS_PAGE = """() => new Promise((resolve, reject) => {
  // What AWS' JavaScript test page does with its channel when a timeline is asked for.
  const channel = kvs.pc.createDataChannel("kvsDataChannel");
  const told = [], stamps = [];
  setTimeout(() => reject(new Error(`only ${JSON.stringify([stamps, told])}`)), 30000);
  const message = {content: "Opened data channel by viewer", firstMessageFromViewerTs: "", firstMessageFromMasterTs: "",
    secondMessageFromViewerTs: "", secondMessageFromMasterTs: "", lastMessageFromViewerTs: ""};
  channel.onopen = () => {
    message.firstMessageFromViewerTs = Date.now().toString();
    channel.send(JSON.stringify(message));
  };
  channel.onmessage = ({data}) => {
    const answer = JSON.parse(data);
    if ("firstMessageFromViewerTs" in answer) {
      if (answer.secondMessageFromViewerTs === "") answer.secondMessageFromViewerTs = Date.now().toString();
      else if (answer.lastMessageFromViewerTs === "") answer.lastMessageFromViewerTs = Date.now().toString();
      stamps.push(answer);
      channel.send(JSON.stringify(answer));
    } else {
      told.push(answer);
      if (told.length === 3) resolve({stamps, told});
    }
  };
})"""


def test_aws_test_page_gets_its_timeline(start_master, open_viewer):
    start_master("timeline")
    page = open_viewer("timeline")
    wait_for(lambda: console(page, "isOpen"), "the channel is open")
    found = page.evaluate(AWS_PAGE)
    assert len(found["stamps"]) == 2
    last = {name: int(value) for name, value in found["stamps"][1].items() if name != "content"}
    times = [last[name] for name in (
        "firstMessageFromViewerTs", "firstMessageFromMasterTs", "secondMessageFromViewerTs",
        "secondMessageFromMasterTs", "lastMessageFromViewerTs")]
    assert times == sorted(times) and times[-1] - times[0] < 60_000
    signaling, connection, candidates = found["told"]
    now = time.time() * 1000
    for values in found["told"]:
        assert all(value == 0 or now - 600_000 < value < now + 1000 for value in values.values()), values
    for start, end, values in (
            ("signalingStartTime", "signalingEndTime", signaling), ("offerReceiptTime", "sendAnswerTime", signaling),
            ("describeChannelStartTime", "describeChannelEndTime", signaling),
            ("getSignalingChannelEndpointStartTime", "getSignalingChannelEndpointEndTime", signaling),
            ("getIceServerConfigStartTime", "getIceServerConfigEndTime", signaling),
            ("connectStartTime", "connectEndTime", signaling),
            ("peerConnectionStartTime", "peerConnectionEndTime", connection)):
        assert 0 < values[start] <= values[end], (start, values)
    assert candidates["candidateGatheringStartTime"] > 0


# ---- The viewer command ----------------------------------------------------------------------------------------------

@pytest.fixture
def viewer(service):
    """Gives a function that starts the viewer command as part of a shell line."""
    environment = {
        "PATH": "/usr/bin:/bin", "KVS": str(BINARY), "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": service["http"], "AWS_REGION": service["region"],
    }

    def run(line, folder=None, timeout=3 * PATIENCE_SECONDS, **arguments):
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], env=environment, cwd=folder, capture_output=True, timeout=timeout,
            **arguments)

    return run


def test_a_file_goes_through_a_pipe_and_back(start_master, viewer, tmp_path):
    start_master("pipe", "--data-echo")
    (tmp_path / "in").write_bytes(noise(5_000_000))
    result = viewer(
        "cat in | $KVS viewer --channel pipe --channel-in --channel-out --binary --linger 10 | tee out | sha256sum",
        tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0].decode() == hashlib.sha256(noise(5_000_000)).hexdigest()


def test_lines_are_messages(start_master, viewer, tmp_path):
    """Also from and to a file; the last line needs no end, and gets one."""
    start_master("lines", "--data-echo")
    text = "one\n\ntwo\nthrée\n" + "x" * 100_000 + "\nlast"
    (tmp_path / "in").write_text(text)
    result = viewer("$KVS viewer --channel lines --channel-in --channel-out <in >out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out").read_text() == text + "\n"
    assert result.stdout == b""


def test_a_viewer_that_only_sends(start_master, viewer):
    """It ends when all was delivered: the master has seen it then."""
    master = start_master("send")
    result = viewer("seq 1 5000 | $KVS viewer --channel send --channel-in --data-label 'my label'")
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    assert b"my label" in result.stderr
    assert "my label" in master.log_path.read_text()


def test_a_reader_that_has_enough_ends_the_viewer(start_master, viewer):
    start_master("head", "--data-echo")
    result = viewer("yes | $KVS viewer --channel head --channel-in --channel-out | head -n 3; exit ${PIPESTATUS[1]}")
    assert result.returncode == 0, result.stderr
    assert result.stdout == b"y\ny\ny\n"


@pytest.fixture
def start_viewer(folder, service, request):
    """Starts viewer commands that run beside the test, and ends those that it left running."""
    running = []

    def start(channel, *arguments, **more):
        program = Program(
            folder, f"viewer-{request.node.name}-{len(running)}", "viewer", "--channel", channel, "--endpoint-url",
            service["http"], "--region", service["region"], *arguments, **more)
        running.append(program)
        assert program.ready()["state"] == "open"
        return program

    yield start
    for program in running:
        program.end()


def test_ctrl_c_ends_a_viewer_that_waits_for_input(start_master, start_viewer):
    start_master("wait")
    assert start_viewer("wait", "--channel-in", "--channel-out", stdin=subprocess.PIPE).interrupt() == 0


def test_a_master_that_ends_ends_a_viewer_that_listens(start_master, start_viewer):
    master = start_master("listen")
    listener = start_viewer("listen", "--channel-out")
    assert master.interrupt() == 0
    assert listener.process.wait(timeout=PATIENCE_SECONDS) == 0, listener.tail()


def test_a_master_that_ends_before_all_was_sent_is_an_error(start_master, start_viewer):
    master = start_master("early-end")
    sender = start_viewer("early-end", "--channel-in", stdin=subprocess.PIPE)
    assert master.interrupt() == 0
    assert sender.process.wait(timeout=PATIENCE_SECONDS) == 69, sender.tail()
    assert "before all was sent" in sender.log_path.read_text()


@pytest.mark.parametrize("line, code, words", [
    ("$KVS viewer --channel none", 64, ["--channel-in", "--channel-out"]),
    ("$KVS viewer --channel-in", 64, ["--channel", "AWS_KVS_CHANNEL_NAME"]),
    ("$KVS viewer --channel none --channel-in", 69, ["ResourceNotFoundException"]),
    ("$KVS viewer --channel none --channel-in --endpoint-url http://127.0.0.1:9 --timeout 2", 69,
     ["service did not answer", "--endpoint-url"]),
    ("$KVS viewer --channel alone --channel-in --timeout 2", 69, ["no master answered", "--timeout"]),
    ("$KVS viewer --channel mute-viewer --channel-in", 69, ["no data channels", "--max-viewers"]),
    ("printf 'fine\\n\\xff\\n' | $KVS viewer --channel strict --channel-in", 65, ["line 2", "--binary"]),
    ("head -c 300000 /dev/zero | $KVS viewer --channel strict --channel-in", 65, ["line 1", "--binary"]),
    ("$KVS viewer --channel strict --channel-in <&-", 74, ["standard input"]),
], ids=[
    "no-direction", "no-channel", "unknown-channel", "no-service", "no-master", "refused", "no-text", "long-line",
    "closed-input",
])
def test_a_viewers_mistakes(start_master, viewer, line, code, words):
    start_master("alone").interrupt()
    start_master("mute-viewer", "--no-data-channels")
    start_master("strict")
    result = viewer(line, stdin=subprocess.DEVNULL)
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in result.stderr.decode(), result.stderr
    assert result.stdout == b""
