"""The judges about one host whose TLSA records and key change: Knot signs each change, and all are asked after each."""

import concurrent.futures
import json
import re
import time

import harness
import knot
import peer
import smtp
from judges_cases import LEVELS, VERDICTS, Certificate

ZONE, ADDRESS, TTL = "roll.test", "127.2.0.1", 1
LIVE_LEVELS = ("dane", "dane-only")

# What the DNS says now, the numbers of the keys in it, the server's key, and what is wanted at dane and dane-only. Each has a mail domain of its
# own, all with the same host, because senders remember domains that failed.
PHASES = (
    ("the server's key is in the DNS", (0,), 0, "VV"),
    ("and the next key, too", (0, 1), 0, "VV"),
    ("the server turns to the next key", (0, 1), 1, "VV"),
    ("the old key is withdrawn", (1,), 1, "VV"),
    ("another key takes its place", (2,), 1, "DD"),
    ("all are withdrawn", (), 1, "ED"),
)


def domain(number):
    return f"d{number}.{ZONE}"


def expected(judge):
    """[{level: verdict}] of the phases."""
    words = [{level: VERDICTS[letter] for level, letter in zip(LIVE_LEVELS, want)} for _, _, _, want in PHASES]
    return words if judge != "finger" else [{level: word if word == "verified" else "not verified" for level, word in one.items()} for one in words]


def start_zone():
    """The zone, before the resolver is told of it."""
    hosts = "\n".join(f"d{number} MX 10 mx" for number in range(len(PHASES)))
    return knot.Server(ZONE, f"mx A {ADDRESS}\n{hosts}").__enter__()


class Live:
    """What is added to judges.Scene once its Postfix may send."""

    def __init__(self, scene, verdicts_of):
        self.scene, self.verdicts_of, self.published = scene, verdicts_of, ()
        self.keys = [f"live-{number}" for number in range(3)]
        for name in self.keys:
            scene.keys.server(name, Certificate(), {"mx": f"mx.{ZONE}"})
        self.server = peer.Peer(type("Pki", (), {"server": self._chain(0), "key": None}), address=(ADDRESS, 25))
        self.gateways = {level: scene.gateway(LEVELS[level], forward=["127.0.0.1@53"], trust_anchor_file=str(scene.live_zone.anchor))
            for level in LIVE_LEVELS}
        for gateway in self.gateways.values():
            gateway.start(wait=False)
        for gateway in self.gateways.values():
            harness.wait_for(lambda: "the gateway is ready\n" + gateway.stderr(), gateway.is_ready)

    def _chain(self, number):
        return self.scene.keys.folder / f"{self.keys[number]}.all"

    def ask(self):
        """{judge: [{level: {"verdict", "why"}}]}."""
        said = {"postern": [], "postfix": [], "finger": []}
        for number, (_, published, key, _) in enumerate(PHASES):
            self._publish(published)
            self.server.context.load_cert_chain(self._chain(key))
            with concurrent.futures.ThreadPoolExecutor() as pool:
                asked = {judge: {level: pool.submit(getattr(self, judge), level, number) for level in LIVE_LEVELS} for judge in said}
                for judge, levels in asked.items():
                    said[judge].append({level: future.result() for level, future in levels.items()})
        for gateway in self.gateways.values():
            gateway.stop()
        return said

    def _publish(self, numbers):
        """Returns when no answer from before may be used any more."""
        def line(sign, number):
            ttl = f"{TTL} " if sign == "+" else ""
            return f"{sign} _25._tcp.mx {ttl}TLSA 3 1 1 {self.scene.keys.data(self.keys[number], 1, 1)}"

        changes = [line("+", n) for n in numbers if n not in self.published] + [line("-", n) for n in self.published if n not in numbers]
        self.published = numbers
        if changes:
            self.scene.live_zone.change(*changes)
            over = time.monotonic() + TTL + 1
            harness.wait_for("the records' time to live is over", lambda: time.monotonic() > over)

    def postern(self, level, number):
        gateway, sender = self.gateways[level], f"d{number}@judge.test"
        smtp.submit(gateway.address(), sender, f"x@{domain(number)}", harness.message())

        def tried():
            found = [r for record in gateway.track(sender=sender) for r in record["recipients"]]
            return found if found and found[0]["attempts"] else None
        found = harness.wait_for(lambda: "the mail was tried\n" + gateway.stderr()[-3000:], tried, patience=120)
        return self.verdicts_of["postern"](found)[domain(number)]

    def postfix(self, level, number):
        log = self.scene.folder / "sender/log"
        smtp.submit(("127.0.0.1", 2526), f"{level}@judge.test", f"x@{domain(number)}", harness.message(), tls=False)
        harness.wait_for(lambda: "Postfix has tried\n" + log.read_text()[-3000:],
            lambda: re.search(rf"judge/{level}/smtp\[.* to=<x@{domain(number)}>.* status=", log.read_text()), patience=120)
        return self.verdicts_of["postfix"](log.read_text())[domain(number)][level]

    def finger(self, level, number):
        return self.scene.finger(domain(number), level)


def page(said):
    """The second table of docs/judges.md."""
    lines = ["", "## One host whose records change", "",
        "TLSA records 3 1 1 with a time to live of a second; each state was judged when the one before had run out.", "",
        "| state | " + " | ".join(LIVE_LEVELS) + " |", "|---" * (1 + len(LIVE_LEVELS)) + "|"]
    for number, (about, *_) in enumerate(PHASES):
        words = {judge: said[judge][number] for judge in said}
        cells = [words["postern"][level]["verdict"] if all(agrees(words, judge, level) for judge in words) else json.dumps(words)
            for level in LIVE_LEVELS]
        lines.append(f"| {about} | " + " | ".join(cells) + " |")
    return lines


def agrees(words, judge, level):
    ours, theirs = words["postern"][level]["verdict"], words[judge][level]["verdict"]
    return theirs == ours or (theirs == "not verified" and ours != "verified")
