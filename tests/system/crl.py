"""An authority that revokes certificates, and servers of its lists: well behaved ones and others."""

import datetime
import http.server
import pathlib
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import harness

HOUR = datetime.timedelta(hours=1)


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


class Authority:
    """The authority of a harness.Pki, as far as it signs lists."""

    def __init__(self, pki, folder=None):
        folder = pathlib.Path(folder or pki.folder)
        self.certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        self.key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        self.server = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes()).serial_number

    def list(self, serials=(), number=1, since=-HOUR, life=24 * HOUR, pem=False, delta=False, name=None):
        builder = x509.CertificateRevocationListBuilder().issuer_name(name or self.certificate.subject) \
            .last_update(now() + since).next_update(now() + since + life)
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), False)
        if delta:
            builder = builder.add_extension(x509.DeltaCRLIndicator(number), True)
        for serial in serials:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial)
                .revocation_date(now() - HOUR).build())
        encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
        return builder.sign(self.key, hashes.SHA256()).public_bytes(encoding)


def long_list(pki, folder, serials, number):
    """The same by `openssl ca`, which is quick with many entries."""
    folder.mkdir()
    (folder / "index").write_text("".join(f"R\t401122000000Z\t261121000000Z\t{serial:0{len(f'{serial:X}') + 1 & ~1}X}\tunknown\t/CN=x\n"
        for serial in serials))
    (folder / "number").write_text(f"{number:02X}\n")
    (folder / "ca.cnf").write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\ncrlnumber={folder}/number\ndefault_md=sha256\n"
        f"certificate={pki.folder}/ca.pem\nprivate_key={pki.folder}/ca.key\ndefault_crl_days=1\n")
    for command in (["ca", "-config", folder / "ca.cnf", "-gencrl", "-out", folder / "pem"],
            ["crl", "-in", folder / "pem", "-outform", "DER", "-out", folder / "der"]):
        done = harness.run("openssl", *map(str, command))
        assert done.returncode == 0, done.stderr
    return (folder / "der").read_bytes()


class Server:
    """Serves what `answers` has under a path: bytes, or a function that gets the handler. `asked` counts the paths."""

    def __init__(self, host="127.0.0.1", pki=None):
        self.answers, self.asked = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path)
                try:
                    if callable(answer):
                        answer(self)
                    elif answer is None:
                        self.send_error(404)
                    else:
                        send(self, answer)
                except OSError:
                    pass  # whoever asked has gone

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        if pki is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pki.server, pki.key)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def url(self, path="/ca.crl", host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


def send(handler, body, length=None):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def redirect(to):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
    return answer


def cut(body):
    """The connection ends before all of it came."""
    def answer(handler):
        send(handler, body[:len(body) // 2], len(body))
    return answer


def endless(handler):
    """Without a length, as much as anybody takes, up to 100 MB."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"0" * (1 << 20))


class Held:
    """Sends the first half, and the rest when it is let go."""

    def __init__(self, body):
        self.body, self.go, self.begun = body, threading.Event(), threading.Event()

    def __call__(self, handler):
        half = len(self.body) // 2
        send(handler, self.body[:half], len(self.body))
        handler.wfile.flush()
        self.begun.set()
        self.go.wait(60)
        handler.wfile.write(self.body[half:])
