# SPDX-License-Identifier: Apache-2.0
"""AWS' own client library against the stand-in."""

import pathlib
import subprocess
import sys

from programs import ACCESS_KEY, SECRET_KEY


def test_boto3_accepts_the_stand_in(service):
    script = pathlib.Path(__file__).with_name("boto3_contract.py")
    result = subprocess.run(
        [sys.executable, script, "--endpoint", service["http"], "--region", service["region"], "--access-key",
         ACCESS_KEY, "--secret-key", SECRET_KEY],
        capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
