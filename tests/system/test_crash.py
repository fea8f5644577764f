"""After a 250 no power cut loses a mail: the queue under a simulated power failure (tests/crash)."""

import subprocess
import sys

import harness

IMAGES = 300
STATES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7")


def test_11_21_11_23_11_24_11_25_11_26_11_27_power_cut_images_keep_every_promise(capsys):
    done = subprocess.run([sys.executable, str(harness.ROOT / "tests/crash/run"), "--build", str(harness.BINARY.parent),
        "--images", str(IMAGES)], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=900, check=False)
    with capsys.disabled():
        print("\n" + done.stdout)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, "a promise was broken: see above how to see it again"
    assert lines[-1].startswith(f"{IMAGES} images, every promise kept"), "the run ended early"
    never_hit = [line for line in lines if line.startswith(STATES) and line.endswith(" in    0 images")]
    assert not never_hit, "the images must show every state of docs/queue.md"
