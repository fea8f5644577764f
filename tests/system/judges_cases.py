"""The cases that Postern, Postfix and posttls-finger are asked about: DNS, certificates and receivers (docs/judges.md is made of them).

A case is one mail domain, <name>.<zone>.test, with one host mx.<name>.<zone>.test that listens on port 25 of an address of its own. It is
asked at each level of LEVELS. `want` says what happens at each of them.
"""

from dataclasses import dataclass, field

# Level of Postfix -> the entry of Postern's `destinations` that means the same.
LEVELS = {
    "may": {"tls": "preferred", "dane": "none"},
    "encrypt": {"tls": "required", "dane": "none"},
    "verify": {"tls": "required-verify-hosted", "dane": "none"},
    "secure": {"tls": "required-verify", "dane": "none"},
    "dane": {"tls": "preferred", "dane": "opportunistic"},
    "dane-only": {"tls": "required", "dane": "mandatory"},
}

FINGER_LEVELS = ("verify", "secure", "dane", "dane-only")  # of which posttls-finger has something to say

VERDICTS = {"V": "verified", "E": "encrypted", "C": "clear", "D": "deferred", "B": "bounced"}


@dataclass
class Certificate:
    """A server's certificate. In the texts {mx} is the host, {d} the mail domain. Signers: root (trusted by every judge), middle (below root),
    private (trusted by nobody), self, and others that are described by the cases that use them (Keys.AUTHORITIES). `send` are what follows it."""
    names: tuple = ("{mx}",)
    cn: str = "{mx}"
    signer: str = "private"
    send: tuple = ()
    days: tuple = (-1, 90)
    usage: str = "serverAuth"
    key: str = "ec"
    digest: str = "sha256"   # of the signature


@dataclass
class Host:
    """A receiver. `by`: postfix, exim, or how a scripted server treats STARTTLS (absent, refused, broken, or helo: it knows no EHLO)."""
    certificate: Certificate = field(default_factory=Certificate)
    by: str = "postfix"
    tlsa: tuple = ()         # "3 1 1 leaf": of which certificate (leaf, its signers, other), or "# hex" for raw RDATA
    name: str = "mx"         # "" for the mail domain itself
    options: tuple = ()      # more of Postfix
    sni: bool = False        # shows its certificate only to a client that names the host, and another one else


@dataclass
class Case:
    """{d}, {mx}, {a} in `records`: domain, first host, its address ({a1} that of the second); {tlsa}: its TLSA data, one line each with {at}.
    Records go to the zone `zone`, those in `more` to others. `want`: a verdict for each of LEVELS, or for dane and dane-only alone (the
    others then are what a server with an untrusted certificate gets: delivered encrypted when nothing is verified)."""
    name: str
    about: str
    want: str
    hosts: tuple = (Host(),)
    zone: str = "good"
    records: str = None
    more: dict = field(default_factory=dict)

    @property
    def domain(self):
        return f"{self.name}.{self.zone}.test"

    def wanted(self):
        letters = self.want if len(self.want) == len(LEVELS) else "EEDD" + self.want
        return {level: VERDICTS[letter] for level, letter in zip(LEVELS, letters)}


def ee(name, about, want, *tlsa, by="postfix", zone="good", **certificate):
    """A case with one host and these TLSA records; certificates of `private`, if nothing else is said."""
    return Case(name, about, want, (Host(Certificate(**certificate), by, tlsa),), zone)


def pkix(name, about, verify, secure, by="postfix", dane="ED", **certificate):
    """A case without TLSA: what the levels verify and secure say."""
    return Case(name, about, "EE" + verify + secure + dane, (Host(Certificate(**{"signer": "root", **certificate}), by),))


def clear(name, about, want, by, *tlsa):
    return Case(name, about, want, (Host(Certificate(), by, tlsa),))


LEAF, OTHER = "3 1 1 leaf", "3 1 1 other"
MX = "{d}. MX 10 {mx}.\n"
HOST = "{mx}. A {a}\n"
TLSA = "_25._tcp.{mx}. TLSA {tlsa}\n"

CASES = (
    # The server's own key or certificate
    ee("ee-311", "3 1 1 of the server's key", "VV", LEAF),
    ee("ee-311-nsec3", "the same in a zone with NSEC3", "VV", LEAF, zone="nsec3"),
    ee("ee-311-exim", "the same at Exim", "VV", LEAF, by="exim"),
    ee("ee-301", "3 0 1 of the server's certificate", "VV", "3 0 1 leaf", by="exim"),
    ee("ee-312", "3 1 2 of the server's key", "VV", "3 1 2 leaf"),
    ee("ee-302", "3 0 2 of the server's certificate", "VV", "3 0 2 leaf", by="exim"),
    ee("ee-310", "3 1 0: the whole key", "VV", "3 1 0 leaf"),
    ee("ee-300", "3 0 0: the whole certificate", "VV", "3 0 0 leaf"),
    ee("ee-self-signed", "3 1 1, self-signed", "VV", LEAF, signer="self", by="exim"),
    ee("ee-expired", "3 1 1, certificate expired", "VV", LEAF, days=(-30, -2)),
    ee("ee-other-name", "3 1 1, certificate with another name", "VV", LEAF, names=("www.elsewhere.test",), cn="www.elsewhere.test"),
    ee("ee-client-usage", "3 1 1, certificate only for clients", "VV", LEAF, usage="clientAuth"),
    ee("ee-mismatch", "3 1 1 of somebody else's key", "DD", OTHER),
    ee("ee-mismatch-exim", "the same at Exim", "DD", OTHER, by="exim"),
    ee("ee-mismatch-nsec3", "the same in a zone with NSEC3", "DD", OTHER, zone="nsec3"),
    ee("ee-301-mismatch", "3 0 1 of somebody else's certificate", "DD", "3 0 1 other"),
    ee("ee-mismatch-trusted", "3 1 1 of somebody else, though a trusted authority vouches for the server", "EEVVDD", OTHER, signer="root",
        names=("{mx}", "{d}")),
    ee("roll-over", "3 1 1 twice: the next key and this one", "VV", OTHER, LEAF),
    ee("agility", "3 1 1 right, 3 1 2 wrong: only the strongest digest counts", "DD", LEAF, "3 1 2 other"),
    ee("agility-full", "3 1 1 wrong, 3 1 0 right: whole data has no rank", "VV", OTHER, "3 1 0 leaf"),
    ee("agility-selectors", "3 1 1 right, 3 0 2 wrong: each selector for itself", "VV", LEAF, "3 0 2 other"),
    ee("agility-strong", "3 1 1 wrong, 3 1 2 right", "VV", OTHER, "3 1 2 leaf"),
    ee("ee-or-ta", "3 1 1 wrong, 2 0 1 of the authority right", "VV", OTHER, "2 0 1 private", send=("private",)),
    ee("ee-sixty", "60 records, one of them right (by TCP)", "VV", *["3 1 1 made%d" % n for n in range(59)], LEAF),

    ee("ee-ed25519", "3 1 1 of an Ed25519 key", "VV", LEAF, key="ed25519"),
    ee("ee-rsa-4096", "3 0 0: a whole certificate with an RSA key of 4096 bits", "VV", "3 0 0 leaf", key="rsa-4096"),
    ee("ee-rsa-1024", "3 1 1 of an RSA key of 1024 bits", "DD", LEAF, key="rsa-1024"),
    ee("ee-sha1", "3 1 1, the certificate is signed with SHA-1", "VV", LEAF, digest="sha1"),
    ee("ee-bound", "3 1 1, its authority may not sign for this name", "VV", LEAF, signer="bound", send=("bound",)),

    # An authority's
    ee("ta-201", "2 0 1 of the root, which is sent", "VV", "2 0 1 private", send=("private",)),
    ee("ta-201-exim", "the same at Exim", "VV", "2 0 1 private", send=("private",), by="exim"),
    ee("ta-201-not-sent", "2 0 1 of the root, which is not sent", "DD", "2 0 1 private"),
    ee("ta-211", "2 1 1 of the root, which is sent", "VV", "2 1 1 private", send=("private",)),
    ee("ta-212", "2 1 2 of the root, which is sent", "VV", "2 1 2 private", send=("private",), by="exim"),
    ee("ta-200-not-sent", "2 0 0: the whole root in the DNS, not sent", "VV", "2 0 0 private"),
    ee("ta-210-not-sent", "2 1 0: the root's whole key in the DNS, not sent", "VV", "2 1 0 private"),
    ee("ta-middle", "2 0 1 of an authority that is no root; the root is not sent", "VV", "2 0 1 below", signer="below", send=("below",)),
    ee("ta-middle-key", "2 1 1 of an authority that is no root; the root is not sent", "VV", "2 1 1 below", signer="below", send=("below",),
        by="exim"),
    ee("ta-root-of-three", "2 0 1 of the root of a chain of three", "VV", "2 0 1 private", signer="below", send=("below", "private")),
    ee("ta-hole", "2 0 1 of the root of a chain of three, the middle is not sent", "DD", "2 0 1 private", signer="below", send=("private",)),
    ee("ta-padded", "the chain is sent twice and in the wrong order", "VV", "2 0 1 private", signer="below",
        send=("private", "other", "below", "private")),
    ee("ta-domain-name", "the certificate names the mail domain alone", "VV", "2 0 1 private", names=("{d}",), cn="x", send=("private",)),
    ee("ta-wildcard", "the certificate names *.domain", "VV", "2 0 1 private", names=("*.{d}",), cn="x", send=("private",)),
    ee("ta-other-name", "the certificate has another name", "DD", "2 0 1 private", names=("www.elsewhere.test",), cn="x", send=("private",)),
    ee("ta-cn-only", "the host stands in the CN alone, there is no dNSName", "DD", "2 0 1 private", names=(), send=("private",)),
    ee("ta-cn-beside-san", "the host stands in the CN, another name in the SAN", "DD", "2 0 1 private", names=("www.elsewhere.test",),
        send=("private",)),
    ee("ta-expired", "the certificate is expired", "DD", "2 0 1 private", days=(-30, -2), send=("private",)),
    ee("ta-not-yet", "the certificate is not valid yet", "DD", "2 0 1 private", days=(2, 30), send=("private",)),
    ee("ta-late", "the authority in the middle is expired", "DD", "2 0 1 private", signer="late", send=("late", "private")),
    ee("ta-client-usage", "the certificate is only for clients", "DD", "2 0 1 private", usage="clientAuth", send=("private",)),
    ee("ta-of-leaf", "2 1 1 of the server's own key", "DD", "2 1 1 leaf"),
    ee("ta-other", "2 0 1 of another authority, the server's is trusted", "EEVDDD", "2 0 1 private", signer="root", send=("root",)),
    ee("ta-ended", "2 0 1 of the root, which is expired", "DD", "2 0 1 ended", signer="ended", send=("ended",)),
    ee("ta-deep", "2 0 1 of the root; an authority below one that may have none", "DD", "2 0 1 private", signer="deep",
        send=("deep", "shallow", "private")),
    ee("ta-fake", "2 0 1 of the root; the issuer is no authority", "DD", "2 0 1 private", signer="fake", send=("fake", "private")),
    ee("ta-bound", "2 0 1 of the root; the issuer may not sign for this name", "DD", "2 0 1 private", signer="bound",
        send=("bound", "private")),
    ee("ta-sha1", "2 0 1 of the root; the certificate is signed with SHA-1", "DD", "2 0 1 private", send=("private",), digest="sha1"),
    ee("ta-upper-case", "2 0 1; the host's name in capitals", "VV", "2 0 1 private", names=("{MX}",), send=("private",)),
    ee("ta-late-or-ee", "2 0 1 of the root and 3 1 1 wrong; the certificate is expired", "DD", "2 0 1 private", OTHER, days=(-30, -2),
        send=("private",)),

    # Records that cannot be used
    ee("pkix-ee", "1 1 1 of the server's key: not for mail", "ED", "1 1 1 leaf"),
    ee("pkix-ta", "0 0 1 of the authority: not for mail", "ED", "0 0 1 private", send=("private",)),
    ee("pkix-ee-wrong", "1 1 1 of somebody else's key", "ED", "1 1 1 other", by="exim"),
    ee("pkix-and-ee", "1 1 1 wrong, 3 1 1 right", "VV", "1 1 1 other", LEAF),
    ee("pkix-and-wrong", "1 1 1 right, 3 1 1 wrong", "DD", "1 1 1 leaf", OTHER),
    ee("short", "3 1 1 with 31 bytes", "ED", "3 1 1 leaf-1"),
    ee("long", "3 1 1 with 33 bytes", "ED", "3 1 1 leaf+1"),
    ee("short-and-right", "3 1 1 with 31 bytes, and the right one", "VV", "3 1 1 leaf-1", LEAF),
    ee("short-and-wrong", "3 1 1 with 31 bytes, and a wrong one", "DD", "3 1 1 leaf-1", OTHER),
    ee("usage-4", "4 1 1", "ED", "4 1 1 leaf"),
    ee("selector-2", "3 2 1", "ED", "3 2 1 leaf"),
    ee("matching-3", "3 1 3", "ED", "3 1 3 leaf"),
    ee("matching-255", "3 1 255: for private use", "ED", "3 1 255 leaf"),
    ee("garbage", "3 0 0 of bytes that are no certificate", "ED", "# 0300000102030405"),
    ee("no-data", "3 1 1 with nothing behind it", "ED", "# 030101"),
    clear("unusable-no-starttls", "only unusable records, and no STARTTLS", "CDDDDD", "absent", "1 1 1 leaf"),

    # No TLS
    clear("no-starttls", "no TLSA, STARTTLS is not offered", "CDDDCD", "absent"),
    clear("refused", "no TLSA, STARTTLS is answered 454", "CDDDCD", "refused"),
    clear("broken", "no TLSA, the handshake fails", "DDDDDD", "broken"),
    clear("helo", "no TLSA, EHLO is answered 502", "CDDDCD", "helo"),
    Case("old-tls", "no TLSA, TLS 1.1 at most", "DDDDDD", (Host(options=("smtpd_tls_protocols=<=TLSv1.1",)),)),
    Case("anonymous", "no TLSA, a server without certificate", "DDDDDD",
        (Host(options=("smtpd_tls_chain_files=", "smtpd_tls_cert_file=none", "smtpd_tls_protocols=<=TLSv1.2")),)),
    clear("ee-no-starttls", "TLSA, STARTTLS is not offered", "CDDDDD", "absent", LEAF),
    clear("ee-refused", "TLSA, STARTTLS is answered 454", "CDDDDD", "refused", LEAF),
    clear("ee-broken", "TLSA, the handshake fails", "DDDDDD", "broken", LEAF),
    clear("ee-helo", "TLSA, EHLO is answered 502", "CDDDDD", "helo", LEAF),

    # What DNSSEC says
    ee("no-tlsa", "no TLSA, proven by NSEC", "ED"),
    ee("no-tlsa-nsec3", "no TLSA, proven by NSEC3", "ED", zone="nsec3"),
    ee("insecure", "nothing is signed", "ED", LEAF, zone="insecure"),
    ee("insecure-wrong", "nothing is signed, and the TLSA is wrong", "ED", OTHER, zone="insecure"),
    ee("bogus", "the signatures are damaged", "DDDDDD", LEAF, zone="bogus"),
    ee("expired", "the signatures are expired", "DDDDDD", LEAF, zone="expired"),
    Case("insecure-host", "the domain is signed, the host's zone is not", "ED", (Host(tlsa=(OTHER,)),),
        records="{d}. MX 10 mx.insecure-host.insecure.test.", more={"insecure": "mx.insecure-host A {a}\n_25._tcp.mx.insecure-host TLSA {tlsa}"}),
    Case("insecure-mx", "the host is signed and has TLSA, the domain is not", "ED", (Host(tlsa=(LEAF,)),), "insecure",
        records="{d}. MX 10 mx.insecure-mx.good.test.", more={"good": "mx.insecure-mx A {a}\n_25._tcp.mx.insecure-mx TLSA {tlsa}"}),
    Case("insecure-mx-wrong", "the same, the TLSA is wrong", "DD", (Host(tlsa=(OTHER,)),), "insecure",
        records="{d}. MX 10 mx.insecure-mx-wrong.good.test.",
        more={"good": "mx.insecure-mx-wrong A {a}\n_25._tcp.mx.insecure-mx-wrong TLSA {tlsa}"}),
    Case("bogus-host", "the host's address is bogus", "DDDDDD",
        records="{d}. MX 10 mx.bogus-host.bogus.test.", more={"bogus": "mx.bogus-host A {a}"}),
    Case("bogus-host-then-good", "the first host's address is bogus, the second host is good", "VV", (Host(), Host(tlsa=(LEAF,), name="mx1")),
        records="{d}. MX 10 mx.bogus-first.bogus.test.\n{d}. MX 20 {mx1}.\n{mx1}. A {a1}\n_25._tcp.{mx1}. TLSA {tlsa1}",
        more={"bogus": "mx.bogus-first A {a}"}),
    Case("bogus-tlsa", "the TLSA is an alias into a bogus zone", "DD", (Host(tlsa=(LEAF,)),),
        records=MX + HOST + "_25._tcp.{mx}. CNAME tlsa.bogus-tlsa.bogus.test.", more={"bogus": "tlsa.bogus-tlsa TLSA {tlsa}"}),
    Case("bogus-tlsa-then-plain", "the first host's TLSA is bogus, the second host has none", "ED", (Host(tlsa=(LEAF,)), Host(name="mx1")),
        records=MX + HOST + "_25._tcp.{mx}. CNAME tlsa.bogus-first.bogus.test.\n{d}. MX 20 {mx1}.\n{mx1}. A {a1}",
        more={"bogus": "tlsa.bogus-first TLSA {tlsa}"}),

    # Aliases
    Case("tlsa-alias", "the TLSA is an alias in a signed zone", "VV", (Host(tlsa=(LEAF,)),),
        records=MX + HOST + "_25._tcp.{mx}. CNAME tlsa.{d}.\ntlsa.{d}. TLSA {tlsa}"),
    Case("tlsa-wildcard", "the TLSA stands at *._tcp", "VV", (Host(tlsa=(LEAF,)),), records=MX + HOST + "*._tcp.{mx}. TLSA {tlsa}"),
    Case("tlsa-wildcard-nsec3", "the same in a zone with NSEC3", "VV", (Host(tlsa=(LEAF,)),), "nsec3",
        records=MX + HOST + "*._tcp.{mx}. TLSA {tlsa}"),
    Case("tlsa-loop", "the TLSA is an alias of itself", "DD", records=MX + HOST + "_25._tcp.{mx}. CNAME _25._tcp.{mx}."),
    Case("host-wildcard", "the host's address stands at *.domain, and there is no TLSA", "ED", records=MX + "*.{d}. A {a}"),
    Case("tlsa-alias-insecure", "the TLSA is an alias into an unsigned zone", "ED", (Host(tlsa=(OTHER,)),),
        records=MX + HOST + "_25._tcp.{mx}. CNAME tlsa.insecure.test.", more={"insecure": "tlsa TLSA {tlsa}"}),
    Case("alias", "the host is an alias, all signed, TLSA at the target", "VV", (Host(tlsa=(LEAF,)),),
        records=MX + "{mx}. CNAME t.{d}.\nt.{d}. A {a}\n_25._tcp.t.{d}. TLSA {tlsa}"),
    Case("alias-original", "the host is an alias, all signed, TLSA at the alias alone", "VV", (Host(tlsa=(LEAF,)),),
        records=MX + "{mx}. CNAME t.{d}.\nt.{d}. A {a}\n" + TLSA),
    Case("alias-both", "the host is an alias, TLSA right at the target, wrong at the alias", "VV",
        (Host(tlsa=(LEAF,)), Host(tlsa=(OTHER,), name="mx1")),
        records=MX + "{mx}. CNAME t.{d}.\nt.{d}. A {a}\n_25._tcp.t.{d}. TLSA {tlsa}\n_25._tcp.{mx}. TLSA {tlsa1}"),
    Case("alias-to-insecure", "the host is a signed alias into an unsigned zone, TLSA at the alias", "VV", (Host(tlsa=(LEAF,)),),
        records=MX + "{mx}. CNAME t-alias.insecure.test.\n" + TLSA, more={"insecure": "t-alias A {a}"}),
    Case("alias-to-insecure-wrong", "the same, the TLSA is wrong", "DD", (Host(tlsa=(OTHER,)),),
        records=MX + "{mx}. CNAME t-alias-wrong.insecure.test.\n" + TLSA, more={"insecure": "t-alias-wrong A {a}"}),
    Case("insecure-alias", "the host is an unsigned alias of a signed name with TLSA", "ED", (Host(tlsa=(OTHER,)),),
        records="{d}. MX 10 mx.insecure-alias.insecure.test.\nt.{d}. A {a}\n_25._tcp.t.{d}. TLSA {tlsa}",
        more={"insecure": "mx.insecure-alias CNAME t.insecure-alias.good.test."}),
    Case("alias-error", "TLSA at the target is bogus, at the alias right: the error is final", "DD", (Host(tlsa=(LEAF,)),),
        records=MX + "{mx}. CNAME t.{d}.\nt.{d}. A {a}\n_25._tcp.t.{d}. CNAME tlsa.alias-error.bogus.test.\n" + TLSA,
        more={"bogus": "tlsa.alias-error TLSA {tlsa}"}),
    Case("alias-ta", "the host is an alias, 2 0 1; the certificate names the target", "VV",
        (Host(Certificate(names=("t.{d}",), cn="x", send=("private",)), tlsa=("2 0 1 private",)),),
        records=MX + "{mx}. CNAME t.{d}.\nt.{d}. A {a}\n_25._tcp.t.{d}. TLSA {tlsa}"),
    Case("domain-alias", "the mail domain is an alias; the certificate names what it stands for", "VV",
        (Host(Certificate(names=("real.{d}",), cn="x", send=("private",)), tlsa=("2 0 1 private",)),),
        records="{d}. CNAME real.{d}.\nreal.{d}. MX 10 {mx}.\n" + HOST + TLSA),
    Case("domain-alias-name", "the mail domain is an alias; the certificate names the alias", "VV",
        (Host(Certificate(names=("{d}",), cn="x", send=("private",)), tlsa=("2 0 1 private",)),),
        records="{d}. CNAME real.{d}.\nreal.{d}. MX 10 {mx}.\n" + HOST + TLSA),

    # No MX, and several
    Case("implicit", "no MX, proven; TLSA at the domain", "VV", (Host(tlsa=(LEAF,), name=""),), records="{d}. A {a}\n_25._tcp.{d}. TLSA {tlsa}"),
    Case("implicit-wrong", "no MX, proven; TLSA wrong", "DD", (Host(tlsa=(OTHER,), name=""),), records="{d}. A {a}\n_25._tcp.{d}. TLSA {tlsa}"),
    Case("implicit-nsec3", "no MX, proven by NSEC3; TLSA at the domain", "VV", (Host(tlsa=(LEAF,), name=""),), "nsec3",
        records="{d}. A {a}\n_25._tcp.{d}. TLSA {tlsa}"),
    Case("implicit-insecure", "no MX, nothing is signed; TLSA wrong", "ED", (Host(tlsa=(OTHER,), name=""),), "insecure",
        records="{d}. A {a}\n_25._tcp.{d}. TLSA {tlsa}"),
    Case("second-right", "TLSA of the first host wrong, of the second right", "VV", (Host(tlsa=(OTHER,)), Host(tlsa=(LEAF,), name="mx1"))),
    Case("second-plain", "TLSA of the first host wrong, the second has none", "ED", (Host(tlsa=(OTHER,)), Host(name="mx1"))),
    Case("first-plain", "the first host has no TLSA, the second has the right one", "EEDDEV", (Host(), Host(tlsa=(LEAF,), name="mx1"))),
    Case("nowhere", "the domain does not exist", "BBBBBB", records=""),
    Case("both-wrong", "TLSA of both hosts wrong", "DD", (Host(tlsa=(OTHER,)), Host(tlsa=(OTHER,), name="mx1"))),
    Case("sni", "the right certificate only for who names the host", "VV", (Host(by="exim", tlsa=(LEAF,), sni=True),)),

    # Names and authorities, without DANE
    pkix("names-both", "certificate with the host's and the domain's name", "V", "V", names=("{mx}", "{d}")),
    pkix("names-both-exim", "the same at Exim", "V", "V", names=("{mx}", "{d}"), by="exim"),
    pkix("names-host", "certificate with the host's name", "V", "D"),
    pkix("names-domain", "certificate with the domain's name", "V", "V", names=("{d}",), cn="x", by="exim"),
    pkix("names-wildcard-host", "certificate with *.domain", "V", "D", names=("*.{d}",), cn="x"),
    pkix("names-wildcard-domain", "certificate with *.good.test", "V", "V", names=("*.good.test",), cn="x"),
    pkix("names-wildcard-two", "certificate with *.test, two labels too short", "D", "D", names=("*.test",), cn="x"),
    pkix("names-partial-wildcard", "certificate with m*.domain", "D", "D", names=("m*.{d}",), cn="x"),
    pkix("names-other", "certificate with another name", "D", "D", names=("www.elsewhere.test",), cn="x", by="exim"),
    pkix("names-cn-host", "the host stands in the CN alone", "D", "D", names=()),
    pkix("names-cn-domain", "the domain stands in the CN alone", "D", "D", names=(), cn="{d}"),
    pkix("names-cn-beside-san", "the domain stands in the CN, another name in the SAN", "D", "D", names=("www.elsewhere.test",), cn="{d}"),
    pkix("names-upper-case", "certificate with both names in capitals", "V", "V", names=("{MX}", "{D}")),
    pkix("names-below-domain", "certificate with a name below the domain, as a wildcard in its middle", "D", "D", names=("mx.*.test",), cn="x"),
    pkix("chain-middle", "certificate of an authority below the trusted one, which is sent", "V", "V", names=("{mx}", "{d}"), signer="middle",
        send=("middle",)),
    pkix("chain-hole", "the same, not sent", "D", "D", names=("{mx}", "{d}"), signer="middle"),
    pkix("chain-private", "certificate of an authority that nobody trusts", "D", "D", names=("{mx}", "{d}"), signer="private", send=("private",)),
    pkix("chain-self", "self-signed", "D", "D", names=("{mx}", "{d}"), signer="self", by="exim"),
    pkix("chain-expired", "expired", "D", "D", names=("{mx}", "{d}"), days=(-30, -2)),
    pkix("chain-not-yet", "not valid yet", "D", "D", names=("{mx}", "{d}"), days=(2, 30)),
    pkix("chain-bound", "its authority may not sign for these names", "D", "D", names=("{mx}", "{d}"), signer="bound-root",
        send=("bound-root",)),
    pkix("chain-sha1", "signed with SHA-1", "D", "D", names=("{mx}", "{d}"), digest="sha1"),
    pkix("chain-rsa-1024", "an RSA key of 1024 bits", "D", "D", names=("{mx}", "{d}"), key="rsa-1024"),
    pkix("chain-ed25519", "an Ed25519 key", "V", "V", names=("{mx}", "{d}"), key="ed25519"),
    pkix("chain-client-usage", "only for clients", "D", "D", names=("{mx}", "{d}"), usage="clientAuth"),
)


# Where another judge says something else, and why: {(judge, case): (kind, {level: its verdict})}. docs/decisions.md has a line for each kind.
KINDS = {
    "cn": "Postfix takes the CN of a certificate without dNSName; Postern never does for DANE, and else only by `tls.cn_fallback`.",
    "dies": "Postfix's client ends by signal 6 when a TLSA record has nothing behind its three first bytes.",
    "old": "Where no certificate has to hold, Postfix takes TLS 1.1 and suites without a certificate; Postern takes neither.",
    "weak": "Postfix believes RSA keys of 1024 bits; Postern none below 2048 where a certificate has to hold.",
    "first": "posttls-finger looks at the first host that answers only.",
}
CN_DANE = ("cn", {"dane": "verified", "dane-only": "verified"})
OLD = ("old", {"may": "encrypted", "encrypt": "encrypted", "dane": "encrypted"})
WEAK_DANE, WEAK = ("weak", {"dane": "verified", "dane-only": "verified"}), ("weak", {"verify": "verified", "secure": "verified"})
DIES = ("dies", {"dane": "dies", "dane-only": "dies"})
DIFFERENCES = {
    ("postfix", "ta-cn-only"): CN_DANE,
    ("postfix", "names-cn-host"): ("cn", {"verify": "verified"}),
    ("postfix", "names-cn-domain"): ("cn", {"verify": "verified", "secure": "verified"}),
    ("postfix", "no-data"): DIES,
    ("finger", "ta-cn-only"): CN_DANE,
    ("finger", "names-cn-host"): ("cn", {"verify": "verified"}),
    ("finger", "names-cn-domain"): ("cn", {"verify": "verified", "secure": "verified"}),
    ("finger", "no-data"): DIES,
    ("postfix", "old-tls"): OLD,
    ("postfix", "anonymous"): OLD,
    ("postfix", "ee-rsa-1024"): WEAK_DANE,
    ("finger", "ee-rsa-1024"): WEAK_DANE,
    ("postfix", "chain-rsa-1024"): WEAK,
    ("finger", "chain-rsa-1024"): WEAK,
    ("finger", "second-right"): ("first", {"dane": "not verified", "dane-only": "not verified"}),
    ("finger", "first-plain"): ("first", {"dane-only": "not verified"}),
}


def expected(judge, case):
    """{level: verdict} that the judge is known to give; posttls-finger says no more than whether it could verify."""
    wanted = {**case.wanted(), **DIFFERENCES.get((judge, case.name), ("", {}))[1]}
    if judge == "finger":
        wanted = {level: word if word in ("verified", "dies") else "not verified" for level, word in wanted.items() if level in FINGER_LEVELS}
    return wanted
