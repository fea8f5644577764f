"""NIST's test suite of certification paths (PKITS), from Debian's python3-cryptography-vectors, against pki/verify.

The folder `smime` has one signed message for each test; its name says whether the path is valid; certificates and lists are inside. Our verification
runs with strict revocation, without a name, at a fixed time. It may only be stricter than NIST, and where it is, STRICTER says why.
"""

import json
import pathlib
import re
import subprocess

import pytest

import harness

FOLDER = pathlib.Path("/usr/lib/python3/dist-packages/cryptography_vectors/x509/PKITS_data")
PROGRAM = harness.BINARY.parent / "tests/pkits/pkits_verify"
AT = 1577836800  # 2020; the certificates are from 2010 and last until 2030

# Section of the suite -> what the names of its tests match. Sections 4.8 to 4.12 are about certificate policies, which nothing here uses; section 4.15
# is about deltas, which are refused: what only a delta revokes is not known here.
SECTIONS = {
    "4.1 signatures": r"(Valid|Invalid)(CA|EE|DSA)?(Signature|Signatures|ParameterInheritance)Test",
    "4.2 validity": r".*(notBefore|notAfter)Date",
    "4.3 name chaining": r".*(NameChaining|AttributeTypes|UTF8String)",
    "4.4 revocation": r"(MissingCRL|.*(RevokedCA|RevokedEE|BadCRL|WrongCRL|TwoCRLs|UnknownCRL|CRLnextUpdate|SerialNumber|SeparateCertificate))",
    "4.5 self-issued": r".*BasicSelfIssued",
    "4.6 basic constraints": r".*(asicConstraints|cAFalse|pathLenConstraint)",
    "4.7 key usage": r".*keyUsage",
    "4.13 name constraints": r".*nameConstraints",
    "4.14 distribution points": r".*(distributionPoint|DistributionPoint|onlyContains|onlySomeReasons|indirectCRL|cRLIssuer)",
    "4.16 extensions": r".*CertificateExtension",
}

DELTAS = r".*deltaCRL"

# Valid for NIST, and refused here: the words of our reason -> why that is so, and the tests.
STRICTER_BY_REASON = {
    "EE certificate key too weak": ("DSA keys of 1024 bits: security level 2 asks for 2048", [
        "ValidDSASignaturesTest4", "ValidDSAParameterInheritanceTest5"]),
    "there is no list of revoked certificates": ("the list is signed with a key of the issuer that does not stand above the certificate in its path", [
        "ValidSeparateCertificateandCRLKeysTest19", "ValidBasicSelfIssuedNewWithOldTest3", "ValidBasicSelfIssuedNewWithOldTest4",
        "ValidBasicSelfIssuedCRLSigningKeyTest6"]),
    "refused: it lists only a part of its issuer's certificates": ("lists of a part are refused (A69)", [
        "ValiddistributionPointTest1", "ValiddistributionPointTest4", "ValiddistributionPointTest5", "ValiddistributionPointTest7",
        "ValidonlyContainsCACertsCRLTest13"]),
    "refused: it lists certificates that were revoked for some reasons only": ("lists of some reasons are refused (A69)", [
        "ValidonlySomeReasonsTest18", "ValidonlySomeReasonsTest19"]),
    "refused: it is an indirect list": ("indirect lists are refused (A69)", [
        "ValidIDPwithindirectCRLTest22", "ValidIDPwithindirectCRLTest24", "ValidIDPwithindirectCRLTest25", "ValidcRLIssuerTest28",
        "ValidcRLIssuerTest29", "ValidcRLIssuerTest30", "ValidcRLIssuerTest33"]),
}
STRICTER = {name: (why, words) for words, (why, names) in STRICTER_BY_REASON.items() for name in names}


def sections_of(name):
    return [section for section, pattern in SECTIONS.items() if re.match(pattern, name)]


def openssl(*arguments, **options):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, env=harness.environment(), **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def unpack(message, folder):
    """leaf.pem: who signed the message; others.pem and crls.pem: what came with it."""
    if folder.name == "ValidDSAParameterInheritanceTest5":  # openssl cannot verify the message itself
        openssl("x509", "-inform", "DER", "-in", FOLDER / f"certs/{folder.name}EE.crt", "-out", folder / "leaf.pem")
    else:
        openssl("cms", "-verify", "-noverify", "-in", message, "-out", "/dev/null", "-signer", folder / "leaf.pem")
    pkcs7 = openssl("smime", "-pk7out", "-in", message)
    text = openssl("pkcs7", "-print_certs", input=pkcs7).decode()
    for name, kind in (("others", "CERTIFICATE"), ("crls", "X509 CRL")):
        blocks = re.findall(rf"-----BEGIN {kind}-----.*?-----END {kind}-----\n", text, re.S)
        (folder / f"{name}.pem").write_text("".join(blocks))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Test -> what our verification says."""
    folder = tmp_path_factory.mktemp("pkits")
    (folder / "anchor.pem").write_bytes(openssl("x509", "-inform", "DER", "-in", FOLDER / "certs/TrustAnchorRootCertificate.crt"))
    names = []
    for message in sorted((FOLDER / "smime").glob("*.eml")):
        name = message.stem.removeprefix("Signed")
        if sections_of(name) or re.match(DELTAS, name):
            names.append(name)
            (folder / name).mkdir()
            unpack(message, folder / name)
    done = harness.run(PROGRAM, folder / "anchor.pem", AT, *[folder / name for name in names], timeout=120)
    assert done.returncode == 0, done.stderr
    assert not harness.SANITIZER_REPORT.search(done.stderr), done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return {pathlib.Path(verdict["directory"]).name: verdict for verdict in said}


def is_valid(name):
    return name.startswith("Valid")


def test_8_11_every_test_is_in_one_section(verdicts):
    mine = [name for name in verdicts if not re.match(DELTAS, name)]
    assert all(len(sections_of(name)) == 1 for name in mine), [n for n in mine if len(sections_of(n)) != 1]
    assert all(name.startswith(("Valid", "Invalid", "MissingCRL")) for name in mine)
    assert len(mine) == 151


@pytest.mark.parametrize("section", SECTIONS)
def test_7_26_7_30_7_33_8_11_PKITS(verdicts, section):
    mine = {name: verdict for name, verdict in verdicts.items() if section in sections_of(name)}
    wrong, stricter = [], []
    for name, verdict in mine.items():
        passed = verdict["result"] == "verified"
        if is_valid(name) and not passed:
            stricter.append(name)
            why, words = STRICTER.get(name, ("it stands not in STRICTER", None))
            if words is None or words not in verdict["reason"] + " ".join(verdict["lists"]):
                wrong.append((name, verdict["reason"], verdict["lists"], why))
        elif passed != is_valid(name):
            wrong.append((name, "passed, and must not", verdict["lists"]))
    assert not wrong, "\n".join(map(str, wrong))
    listed = [name for name in STRICTER if section in sections_of(name)]
    assert sorted(listed) == sorted(stricter), "a listed one is no longer refused: take it out of STRICTER"
    print(f"PKITS {section}: {len(mine)} tests, {len(mine) - len(stricter)} as NIST says, {len(stricter)} stricter")


def test_7_31_7_32_lists_that_are_no_complete_ones_are_refused_with_a_reason(verdicts):
    said = {words for verdict in verdicts.values() for words in verdict["lists"]}
    deltas = [verdict for name, verdict in verdicts.items() if re.match(DELTAS, name)]
    assert len(deltas) == 10 and all(any("it is a delta" in words for words in verdict["lists"]) for verdict in deltas)
    for words in ("it is a delta", "it is an indirect list", "it lists only a part", "for some reasons only", "a critical extension"):
        assert any(line.startswith("refused") and words in line for line in said), said
