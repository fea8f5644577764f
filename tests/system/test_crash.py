"""After a 250 no power cut and no damaged file loses a mail: the queue under simulated failures (tests/crash)."""

import subprocess
import sys

import harness

IMAGES = 300
DAMAGED, CUTS = 100, 25
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


def test_11_28_a_damaged_queue_gives_every_whole_mail_back_and_reports_the_rest(capsys):
    done = subprocess.run([sys.executable, str(harness.ROOT / "tests/crash/salvage"), "--build", str(harness.BINARY.parent),
        "--images", str(DAMAGED), "--cuts", str(CUTS)], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=900, check=False)
    with capsys.disabled():
        print("\n" + done.stdout)
    assert done.returncode == 0, "a mail was lost or altered: see above"
    assert done.stdout.splitlines()[-1].startswith(f"{DAMAGED} images, every whole mail lent"), "the run ended early"
