"""A zone that is signed by Knot and changes while mail flows.

    with knot.Server("roll.test", "@ MX 10 mx\\nmx A 127.0.0.2") as names:
        make_gateway(dns=names.settings(), ...)
        names.change("+ _25._tcp.mx 1 TLSA 3 1 1 abcd...", "- _25._tcp.mx TLSA")
"""

import re
import shutil
import signal
import subprocess

import dns
import harness


class Server:
    """knotd with one zone, whose key is the trust anchor of settings(). Use as a context manager."""

    def __init__(self, name, records):
        self.name, self.folder, self.port = name, harness.make_folder(), dns.free_port()
        self.anchor, self.config = self.folder / "anchor", self.folder / "knot.conf"
        (self.folder / "database").mkdir()
        (self.folder / f"{name}.zone").write_text(dns.Zone(records).text(name))
        self.config.write_text(f"""server:
    listen: 127.0.0.1@{self.port}
    rundir: "{self.folder}"
    user: root
database:
    storage: "{self.folder}/database"
log:
  - target: stderr
    any: warning
policy:
  - id: p
    algorithm: ecdsap256sha256
    single-type-signing: on
    nsec3: off
zone:
  - domain: {name}
    storage: "{self.folder}"
    file: {name}.zone
    dnssec-signing: on
    dnssec-policy: p
    zonefile-sync: -1
    journal-content: none
""")

    def __enter__(self):
        with open(self.folder / "errors", "wb") as errors:
            self.process = subprocess.Popen(["knotd", "-c", self.config], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                env=harness.environment())
        found = harness.wait_for(lambda: "Knot has signed its zone\n" + (self.folder / "errors").read_text(), self._delegation)
        self.anchor.write_text(found)
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=harness.PATIENCE)
        finally:
            self.process.kill()

    def __exit__(self, *unused):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _delegation(self):
        """The zone's DS records with SHA-256, once its keys are served."""
        assert self.process.poll() is None, (self.folder / "errors").read_text()
        keys = harness.run("drill", "-p", self.port, "@127.0.0.1", self.name, "DNSKEY").stdout
        ds = harness.run("keymgr", "-c", self.config, self.name, "ds").stdout
        return "\n".join(line for line in ds.splitlines() if re.search(r" DS \d+ 13 2 ", line)) if "\tDNSKEY\t" in keys else None

    def _control(self, *words):
        done = harness.run("knotc", "-c", self.config, "-b", *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    def change(self, *lines):
        """In one step: "+ owner ttl type data" sets a record, "- owner type [data]" takes it (or the whole set) away."""
        self._control("zone-begin", self.name)
        for line in lines:
            sign, *words = line.split()
            self._control({"+": "zone-set", "-": "zone-unset"}[sign], self.name, *words)
        self._control("zone-commit", self.name)

    def settings(self, **more):
        """The section `dns` of a gateway that asks this server."""
        return {"forward": [f"127.0.0.1@{self.port}"], "trust_anchor_file": str(self.anchor), "private_zones": ["test"], "timeout": "20s", **more}
