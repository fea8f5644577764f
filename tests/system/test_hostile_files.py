"""Files that an operator hands in: truncated, mixed, oversized and made to harm. The error is clear, and what was there before stays."""

import json
import re

import pytest

import harness
from test_cert import ISSUE_LINE, authority, cert, openssl, place, pem_of, show  # noqa: F401

BEGIN, END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
BOM = "\ufeff"


def everything(folder):
    """Each file of the store with its bytes."""
    top = folder / "state/pki"
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def block(path):
    text = path.read_text()
    return text[text.index("-----BEGIN"):]


@pytest.fixture
def ready(place, authority):
    cert(place, *ISSUE_LINE)
    authority.sign(cert(place, "csr", "web"), "signed.pem", "middle")
    (place / "key.pem").write_text(pem_of(place, "web", "key.pem"))
    openssl(place, "pkey", "-in", "key.pem", "-aes256", "-passout", "file:F", "-out", "locked.pem")
    (place / "index").write_text("")
    (place / "ca.cnf").write_text("[ca]\ndefault_ca=a\n[a]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=9\n")
    openssl(place, "ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out", "list.crl")
    return place


def said(folder, *arguments, status=1):
    """What a command says that must end so."""
    done = harness.postern("-c", folder / "gw.yaml", *arguments)
    assert done.returncode == status, (arguments, done)
    return done.stdout + done.stderr


# What is said of a file, by `cert` and by `ca`.
DAMAGED = ("holds a certificate that is damaged or cut off; get the file again", "0 added, 0 skipped, 1 unreadable")
NONE = ("holds no certificate in PEM form", "no certificate in PEM form")
NOT_PEM = ("is not in PEM form", "no certificate in PEM form")


def bad_files(folder):
    """name -> (what a file holds that is no certificate, or not wholly; what is said of it)."""
    leaf, middle, key, crl = (block(folder / name) for name in ("signed.pem", "middle.pem", "key.pem", "list.crl"))
    lines = leaf.splitlines(keepends=True)
    return {
        "empty": ("", NOT_PEM),
        "zeros": ("\0" * 4096, NOT_PEM),
        "a first line only": (BEGIN, DAMAGED),
        "a last line only": (END, NOT_PEM),
        "nothing between": (BEGIN + END, DAMAGED),
        "cut in its text": (leaf[:len(leaf) // 2], DAMAGED),
        "cut before its last line": ("".join(lines[:-1]), DAMAGED),
        "cut inside the last line": (leaf[:-6], DAMAGED),
        "without its first line": ("".join(lines[1:]), NOT_PEM),
        "a line missing": ("".join(lines[:5] + lines[6:]), DAMAGED),
        "a line twice": ("".join(lines[:5] + lines[4:]), DAMAGED),
        "another last line": (leaf.replace("END CERTIFICATE", "END CERTIFICATE REQUEST"), DAMAGED),
        "another first line": (leaf.replace("BEGIN CERTIFICATE", "BEGIN PKCS7"), DAMAGED),
        "two first lines": (BEGIN + leaf, DAMAGED),
        "no base64": (BEGIN + "this is no certificate\n" + END, DAMAGED),
        "base64 of nothing good": (BEGIN + "AAAA" * 16 + "\n" + END, DAMAGED),
        "a NUL inside": (leaf[:200] + "\0" + leaf[200:], DAMAGED),
        "bytes behind the certificate in its block": (BEGIN + "MIIB" + "".join(lines[1:]), DAMAGED),
        "one good, one cut": (leaf + middle[:300], (DAMAGED[0], None)),
        "one cut, one good": (middle[:300] + leaf, DAMAGED),
        "a list of revoked ones": (crl, NONE),
        "a list said to be a certificate": (crl.replace("X509 CRL", "CERTIFICATE"), DAMAGED),
        "a key said to be a certificate": (key.replace("PRIVATE KEY", "CERTIFICATE"), DAMAGED),
        "UTF-16": (leaf.encode("utf-16"), NOT_PEM),
        "101 certificates": (leaf + middle * 100, ("more than 100 certificates", None)),
        "too large": (leaf + "#" * (1 << 20), ("it is larger than 1 MiB", None)),
        "one line without end": ("-----BEGIN CERTIFICATE-----" + "A" * 900000, NONE),
        "many first lines": (BEGIN * 30000, DAMAGED),
        "an encrypted block": (BEGIN + "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n" + "".join(lines[1:]), (DAMAGED[0], None)),
    }


def odd_files(folder):
    """name -> a file that is written in an odd way, or holds something beside, and is good all the same."""
    leaf, middle = block(folder / "signed.pem"), block(folder / "middle.pem")
    body = "".join(leaf.splitlines()[1:-1])
    crl = block(folder / "list.crl")
    return {
        "CRLF": (leaf + middle).replace("\n", "\r\n"),
        "both": leaf.replace("\n", "\r\n") + middle,
        "BOM": BOM + leaf + middle,
        "BOMs": BOM + leaf + BOM + middle,
        "second BOM": leaf + BOM + middle,
        "blanks behind": (leaf + middle).replace("\n", " \t\n"),
        "text": "Bag Attributes\n    friendlyName: x\nsubject=CN = x\n" + leaf + "\nissuer\n" + middle + "end",
        "one line": "-----BEGIN CERTIFICATE-----\n" + body + "\n-----END CERTIFICATE-----\n" + middle,
        "no end of line": leaf + middle.rstrip(),
        "old label": (leaf + middle).replace("CERTIFICATE", "X509 CERTIFICATE"),
        "with a list": leaf + crl + middle,
    }


def test_8_13_damaged_and_mixed_files_change_nothing(ready):
    before = everything(ready)
    file = ready / "hostile.pem"
    for name, (content, (of_cert, of_ca)) in bad_files(ready).items():
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        for verb in (("upload", "web"), ("import", "new", "--key", ready / "key.pem"), ("import", "web", "--replace", "--key", ready / "key.pem")):
            words = NONE[0] if of_cert == NOT_PEM[0] and verb[0] == "upload" else of_cert
            text = said(ready, "cert", *verb, "--in", file)
            assert words in text and str(file) in text, (name, verb, text)
            assert everything(ready) == before, (name, verb)
        if of_ca is not None:
            assert of_ca in said(ready, "ca", "import", file), name
            assert everything(ready) == before, name


def test_8_13_oddly_written_files_are_read(ready):
    file = ready / "odd.pem"
    for name, content in odd_files(ready).items():
        file.write_bytes(content.encode())
        for verb in (("upload", "web"), ("import", "web", "--replace", "--key", ready / "key.pem")):
            notes = json.loads(said(ready, "cert", *verb, "--in", file, "--json", status=0).splitlines()[0])["notes"]
            assert len(notes) == 1 and "the issuer of `CN=Middle`" in notes[0], (name, notes)
        assert json.loads(said(ready, "ca", "import", file, "--json", status=0).splitlines()[0])["unreadable"] == 0, name
    assert "Middle" in said(ready, "ca", "list", "custom", status=0)


def test_8_13_keys_that_are_none_change_nothing(ready):
    before = everything(ready)
    key = block(ready / "key.pem")
    openssl(ready, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "other.pem")
    openssl(ready, "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    for name, content, words in (
        ("another key", (ready / "other.pem").read_text(), "belongs to the private key"),
        ("encrypted", (ready / "locked.pem").read_text(), "encrypted private key"),
        ("the public half", (ready / "public.pem").read_text(), "holds no private key"),
        ("a certificate", block(ready / "ca.pem"), "holds no private key"),
        ("cut", key[:len(key) // 2], "holds no private key"),
        ("cut in its text", key[:600] + key[-28:], "no private key"),
        ("empty", "", "holds no private key"),
        ("too large", key + "#" * (1 << 20), "it is larger than 1 MiB"),
    ):
        (ready / "hostile.key").write_text(content)
        for target in (("new",), ("web", "--replace")):
            text = said(ready, "cert", "import", *target, "--in", ready / "signed.pem", "--key", ready / "hostile.key")
            assert words in text, (name, text)
        assert everything(ready) == before, name


def der(tag, *parts):
    body = b"".join(parts)
    length = bytes([len(body)]) if len(body) < 128 else (lambda n: bytes([0x80 + len(n)]) + n)(len(body).to_bytes(4, "big").lstrip(b"\0"))
    return bytes([tag]) + length + body


DATA = bytes.fromhex("06092a864886f70d010701")
SAFE_CONTENTS_BAG = bytes.fromhex("060b2a864886f70d010c0a0106")


def nested(depth):
    """A PKCS#12 file without a sum: an empty list of bags in so many others."""
    bags = der(0x30)
    for _ in range(depth):
        bags = der(0x30, der(0x30, SAFE_CONTENTS_BAG, der(0xa0, bags)))
    safe = der(0x30, DATA, der(0xa0, der(0x04, bags)))
    whole = der(0x30, safe)
    return der(0x30, der(0x02, b"\3"), der(0x30, DATA, der(0xa0, der(0x04, whole))))


def test_8_13_pkcs12_bombs_and_ruins_change_nothing(ready):
    """Numbers of iterations that nobody computes are in tests/unit/test_pkcs12.c."""
    export = ["pkcs12", "-export", "-in", "signed.pem", "-inkey", "key.pem", "-passout", "file:F"]
    openssl(ready, *export, "-iter", 100000, "-out", "good.p12")
    good = (ready / "good.p12").read_bytes()
    assert "imported" in said(ready, "cert", "import", "good", "--in", ready / "good.p12", "--passphrase-file", ready / "F", status=0)
    before = everything(ready)
    iterations = bytes.fromhex("0203") + (100000).to_bytes(3, "big")
    assert good.count(iterations) == 3
    files = {
        "negative iterations": (good.replace(iterations, bytes.fromhex("0203ffffff")), ""),
        "nested": (nested(6), ""),
        "deeply nested": (nested(20000), ""),
        "empty": (nested(0), "holds no"),
        "too large": (good + bytes(1 << 20), "1 MiB"),
        "more behind it": (good + b"x", ""),
        "no end": (bytes.fromhex("3080") + good[4:], ""),
        "a length beyond": (bytes.fromhex("30847fffffff") + good[4:], "no PKCS#12 file, or damaged"),
        "text": (b"hello", "no PKCS#12 file, or damaged"),
        **{f"cut at {at}": (good[:at], "no PKCS#12 file, or damaged") for at in (1, 4, 50, 1000, len(good) - 20)},
    }
    for name, (content, words) in files.items():
        (ready / "hostile.p12").write_bytes(content)
        for target in (("new",), ("web", "--replace")):
            done = said(ready, "cert", "import", *target, "--in", ready / "hostile.p12", "--passphrase-file", ready / "F")
            assert words in done and re.search(r"hostile\.p12 \w", done), (name, done)
        assert everything(ready) == before, name


@pytest.mark.parametrize("path,words", [("/dev/zero", ""), ("/", "irectory"), ("/dev/null", "no"), ("nowhere", "cannot be read")])
def test_8_13_what_is_no_file_of_the_usual_kind(ready, path, words):
    before = everything(ready)
    for arguments in (("cert", "upload", "web", "--in", path), ("cert", "import", "web", "--replace", "--in", path, "--passphrase-file", ready / "F"),
            ("cert", "import", "web", "--replace", "--in", ready / "signed.pem", "--key", path), ("ca", "import", path)):
        text = said(ready, *arguments)
        assert words in text, (arguments, text)
    assert everything(ready) == before
