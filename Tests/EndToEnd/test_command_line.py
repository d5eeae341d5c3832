# SPDX-License-Identifier: Apache-2.0
"""Mistakes get one clear sentence and an exit code; secrets get nowhere."""

import os
import subprocess

import pytest

from programs import ACCESS_KEY, BINARY, SECRET_KEY, Program, wait_for


def run(*arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "KVS_WEBRTC_"))}
    return subprocess.run(
        [BINARY, *arguments], env=clean | environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments, environment, names", [
    (["master"], {}, ["--channel", "AWS_KVS_CHANNEL_NAME"]),
    (["master", "--channel", "a b"], {}, ["--channel"]),
    (["master", "--channel", "x"], {}, ["AWS_ACCESS_KEY_ID"]),
    (["master", "--channel", "x", "--max-viewers", "many"], {}, ["--max-viewers"]),
    (["master", "--channel", "x"], {"KVS_WEBRTC_MAX_VIEWERS": "0"}, ["KVS_WEBRTC_MAX_VIEWERS"]),
    (["master", "--channel", "x", "--access-key", "a", "--secret-key", "b", "--video", "/nowhere.h264"], {},
     ["--video", "/nowhere.h264"]),
    (["local", "--port", "70000"], {}, ["--port"]),
    (["local", "--config", "/nowhere"], {}, ["--config"]),
    (["demo", "--max-viewers", "0"], {}, ["--max-viewers"]),
    (["nonsense"], {}, []),
])
def test_mistakes_exit_64_and_name_the_flag(arguments, environment, names):
    result = run(*arguments, **environment)
    assert result.returncode == 64, result.stderr
    for name in names:
        assert name in result.stderr


@pytest.mark.parametrize("arguments", [[], ["local"], ["master"], ["demo"]])
def test_help_and_version(arguments):
    assert run(*arguments, "--help").returncode == 0
    assert run(*arguments, "--version").stdout.strip()


def test_a_port_in_use_is_one_sentence(service):
    port = service["http"].rsplit(":", 1)[1].rstrip("/")
    result = run("local", "--port", port)
    assert result.returncode not in (0, 64)
    assert "--port" in result.stderr and port in result.stderr


def master(service, **environment):
    return run(
        "master", "--channel", "unknown-channel", "--endpoint-url", service["http"], "--region", service["region"],
        **({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY} | environment))


def test_the_services_own_errors_are_told(service):
    unknown = master(service)
    assert unknown.returncode not in (0, 64) and "ResourceNotFoundException" in unknown.stderr
    wrong = master(service, AWS_SECRET_ACCESS_KEY="wrong")
    assert wrong.returncode not in (0, 64) and "InvalidSignatureException" in wrong.stderr


def test_an_unreachable_endpoint_is_named(folder):
    program = Program(
        folder, "unreachable", "master", "--channel", "x", "--endpoint-url", "http://127.0.0.1:9", "--region",
        "us-west-2")
    try:
        wait_for(lambda: "127.0.0.1:9" in program.log_path.read_text() or program.process.poll() is not None,
                 "a word about the endpoint")
        assert "127.0.0.1:9" in program.log_path.read_text()
    finally:
        program.end()


def test_no_secret_is_ever_printed(folder, start_master, open_viewer):
    """T39: canaries in every log that these tests made, at the most talkative level."""
    from viewer import wait_for_frames
    start_master("secrets")
    wait_for_frames(open_viewer("secrets"), 5)
    for log in folder.glob("*.log"):
        text = log.read_text(errors="replace")
        assert text, log
        for canary in (SECRET_KEY, "X-Amz-Signature=", "a=ice-pwd:"):
            assert canary not in text, f"{canary} in {log.name}"
