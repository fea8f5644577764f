#!/usr/bin/python3
"""What DANE costs: mail to signed domains whose server has TLSA records, all caches warm, against the same without DANE; and a thousand domains, one of
them bogus and one whose name servers are silent, against the same without these two.

    bench/dane.py [--runs N] [--mails N] [one|hundred|thousand ...]

Both sides of a comparison run in turn. `one`: one domain, whose open connections are used again and again; `hundred`: as many domains, where most
mails need a connection of their own; `thousand`: as many domains, with and without the two, all caches cold.
"""

import argparse
import contextlib
import hashlib
import shutil
import ssl
import statistics
import time

from tools import TOOLS, Counted, check_binary, heading, natural, run, say
import dns
import harness
import peers
import relay

CONNECTIONS, SIZE = 20, 4096
COMPARISONS = ["one", "hundred", "thousand"]


def comparison(text):
    """For argparse."""
    if text in COMPARISONS:
        return text
    raise argparse.ArgumentTypeError(f"there is no comparison `{text}`: expected {', '.join(COMPARISONS)}")


def tlsa(pki):
    """3 0 1 of the sink's certificate."""
    return "3 0 1 " + hashlib.sha256(ssl.PEM_cert_to_DER_cert(pki.server.read_text())).hexdigest()


def zone(pki, port, domains):
    return dns.Zone(f"mx A 127.1.0.0\n_{port}._tcp.mx TLSA {tlsa(pki)}\n" + "".join(f"d{n} MX 10 mx\n" for n in range(domains)))


class Scene:
    """A sink, zones, and a gateway that sends to where MX records lead."""

    def __init__(self, pki, domains, dane, change=None):
        self.port, self.domains = int(harness.free_address().rsplit(":", 1)[1]), domains
        self.sink = Counted(TOOLS / "sink", "-c", pki.folder / "both.pem", self.port, 1)
        harness.wait_for("the sink listens", self.sink.look)
        self.server = dns.Server({"bench.test": zone(pki, self.port, domains)}).start()
        self.watched = dns.Watched(self.server, change or (lambda question, answer: answer))
        settings = peers.settings("127.0.0.1:9", True, dns=self.watched.settings(), routes=None, accepted_domains=None,
            destinations=[{"domain": "default", "tls": "required", "dane": dane}],
            delivery={"retry": ["1h"], "port": self.port})
        self.group = peers.Group(f"dane-{dane}")
        self.gateway = peers.Gateway(pki, settings)
        self.gateway.group = self.group
        self.gateway.start()
        self.came = 0

    def send(self, mails, lost=0):
        """Seconds from the first connect to the last mail at the sink."""
        load = Counted(TOOLS / "load", "-t", "1.3", "-m", 10, *self.gateway.address(), CONNECTIONS, self.came, mails, SIZE, self.domains)
        load.wait()
        self.came += mails - lost
        harness.wait_for(lambda: f"{self.came} mails at the sink ({self.sink.counts()[-1]})",
            lambda: self.sink.counts()[-1][1][1] >= self.came, 120)
        return next(at for at, counts in self.sink.counts() if counts[1] >= self.came) - load.counts()[0][0]

    def stop(self):
        self.gateway.stop()
        self.gateway.discard()
        self.group.remove()
        self.sink.stop()
        self.watched.__exit__()
        self.server.__exit__()


def cost(pki, domains, mails, runs):
    """Seconds of processor time for 1,000 mails of two gateways side by side, in turn, and their ratios: what the machine does beside it falls on
    both."""
    settings = ("none", "opportunistic")
    with contextlib.ExitStack() as stack:
        scenes = {dane: Scene(pki, domains, dane) for dane in settings}
        for scene in scenes.values():
            stack.callback(scene.stop)
            scene.send(max(4 * domains, 20 * CONNECTIONS) // CONNECTIONS * CONNECTIONS)
        found = {dane: [] for dane in settings}
        for turn in range(runs):
            for dane in settings if turn % 2 == 0 else settings[::-1]:
                before = scenes[dane].group.cpu()
                scenes[dane].send(mails)
                time.sleep(0.3)  # what is done behind the last reply counts, too
                found[dane].append((scenes[dane].group.cpu() - before) / mails * 1000)
    title = f"{domains} domain{'s' * (domains > 1)}"
    for dane, values in found.items():
        say(f"{title}, dane {dane}", values, "CPU s/1000")
    say(f"{title}, with DANE divided by without", [b / a for a, b in zip(*found.values())], "")


def damaged(question, answer):
    """Domain 0 is bogus, domain 1 silent: they are asked for first."""
    if question.name == "d1.bench.test":
        return None
    if question.name == "d0.bench.test":
        return question.answer([dns.record(question.name, "MX", dns.mx(10, "mx.bench.test"))])
    return answer


def thousand(pki, change, mails):
    """Mails a second at the sink, all caches cold."""
    scene = Scene(pki, 1000, "opportunistic", change)
    try:
        lost = 2 * mails // 1000 if change else 0
        return (mails - lost) / scene.send(mails, lost)
    finally:
        scene.stop()


def compare(title, unit, first, second, runs):
    """`first` and `second`: (name, function), run in turn; how much more the second is."""
    found = {first[0]: [], second[0]: []}
    for turn in range(runs):
        for name, function in (first, second) if turn % 2 == 0 else (second, first):
            found[name].append(function())
    for name, values in found.items():
        say(f"{title}, {name}", values, unit)
    ratio = statistics.median(found[second[0]]) / statistics.median(found[first[0]])
    print(f"{title}: {second[0]} / {first[0]} = {ratio:.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=natural, default=7, help="of each side, 7 unless said")
    parser.add_argument("--mails", type=natural, default=1000, help="in a run, 1000 unless said")
    parser.add_argument("what", nargs="*", type=comparison, help="one, hundred, thousand; without any all of them")
    arguments = parser.parse_args()
    wanted = arguments.what or COMPARISONS
    check_binary()
    harness.make_user()
    print(heading())
    folder = harness.make_folder()
    try:
        pki = relay.make_pki(folder / "ec")
        for word, domains in (("one", 1), ("hundred", 100)):
            if word in wanted:
                cost(pki, domains, arguments.mails, arguments.runs)
        if "thousand" in wanted:
            compare("1,000 domains", "mails/s", ("all well", lambda: thousand(pki, None, 1000)),
                ("one bogus, one silent", lambda: thousand(pki, damaged, 1000)), arguments.runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


run(main)
