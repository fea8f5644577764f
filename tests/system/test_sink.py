"""`postern sink`, the small receiving server for trying things out."""

import re
import signal
import subprocess

import harness
import smtp


def place(sink):
    host, port = sink.address.rsplit(":", 1)
    return host, int(port)


def test_it_takes_mail_with_and_without_tls(sink):
    smtp.submit(place(sink), "clear@sender.test", "bob@good.test", harness.message("clear"), tls=False)
    smtp.submit(place(sink), "tls@sender.test", ["bob@good.test", "carol@good.test"], harness.message("tls"))
    clear, tls = sink.wait(2)
    for line in (clear, tls):
        assert {"file", "sender", "recipients", "size", "tls"} <= set(line)
        assert line["file"].endswith(".eml")
    assert clear["tls"]["obtained"] == "none" and tls["tls"]["obtained"] == "encrypted"
    assert clear["recipients"] == ["bob@good.test"] and tls["recipients"] == ["bob@good.test", "carol@good.test"]
    assert sink.content(clear) == harness.message("clear")
    assert sink.content(tls) == harness.message("tls")


def test_dots_and_order_of_verbs(sink):
    content = harness.message("dots", ".\r\n..\r\n.x\r\n" + "y" * 3000 + "\r\n")
    with smtp.Client(place(sink)) as c:
        c.expect("MAIL FROM:<a@sender.test>", 503)
        c.ehlo()
        c.expect("DATA", 503)
        c.mail("a@sender.test", "bob@good.test", content)
        c.expect("RSET", 250)
        c.expect("NOOP", 250)
        c.expect("FOO", 500)
        c.quit()
    assert sink.content(sink.wait()[0]) == content


def test_one_line_for_each_message_without_json(pki):
    folder = harness.make_folder()
    process = subprocess.Popen([str(harness.BINARY), "sink", "--listen", "127.0.0.1:0", "--certificate", str(pki.server),
        "--key", str(pki.key), "--dir", str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        env=harness.environment())
    try:
        address = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        smtp.submit(("127.0.0.1", int(address.group(1))), "a@sender.test", "bob@good.test", harness.message())
        line = process.stdout.readline()
        assert "a@sender.test" in line and "bob@good.test" in line and ".eml" in line and "TLSv1.3" in line
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=harness.PATIENCE) == 0
    assert len(list(folder.glob("*.eml"))) == 1
    harness.run("rm", "-rf", folder)
