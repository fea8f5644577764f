"""A certificate that names OCSP responders, and a responder: OpenSSL answers, this file only carries."""

import datetime
import http.server
import threading

import cryptography.x509.ocsp  # noqa: F401 (x509.ocsp)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import harness

TRY_LATER = bytes.fromhex("30030a0103")


class Pki(harness.Pki):
    """As harness.Pki; the server's certificate names the responders `urls`, and a delegate of its issuer signs the answers."""

    def __init__(self, folder, urls=(), san=None):
        super().__init__(folder)
        self.index, self.serial = self.folder / "index.txt", None
        self.issue(urls, san)
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ocsp.key", "-out", "ocsp.csr",
            "-subj", "/O=Test/CN=OCSP signer")
        (self.folder / "ocsp.ext").write_text("extendedKeyUsage=OCSPSigning\nbasicConstraints=CA:FALSE\nnoCheck=ignored\n")
        self._sign("ocsp.csr", "ocsp.ext", "ocsp.pem")

    def _sign(self, request, extensions, out):
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", "ca.key", "-CAcreateserial", "-days", 30, "-extfile",
            extensions, "-out", out)

    def issue(self, urls=(), san=None, more=""):
        """Another certificate for the same key, in the place of the old one."""
        info = "".join(f"authorityInfoAccess={','.join(f'OCSP;URI:{url}' for url in urls)}\n" if urls else "")
        (self.folder / "server.ext").write_text(f"subjectAltName={san or f'DNS:{harness.HOSTNAME},DNS:localhost,IP:127.0.0.1'}\n"
            f"basicConstraints=critical,CA:false\nextendedKeyUsage=serverAuth\n{info}{more}")
        self._sign("server.csr", "server.ext", self.server)
        done = harness.run("openssl", "x509", "-in", self.server, "-noout", "-serial")
        self.serial = done.stdout.strip().partition("=")[2]
        self.say("good")

    def say(self, status):
        """What the responder shall know about the certificate: "good", "revoked", or "unknown"."""
        line = {"good": f"V\t491231235959Z\t\t{self.serial}\tunknown\t/CN=x\n",
            "revoked": f"R\t491231235959Z\t260101000000Z,keyCompromise\t{self.serial}\tunknown\t/CN=x\n", "unknown": ""}[status]
        self.index.write_text(line)

    def ended_answer(self):
        """Signed by the issuer itself; it ended a minute ago."""
        certificate, issuer = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (self.server, self.ca))
        key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        now, minute = datetime.datetime.utcnow(), datetime.timedelta(minutes=1)
        builder = x509.ocsp.OCSPResponseBuilder().add_response(certificate, issuer, hashes.SHA1(), x509.ocsp.OCSPCertStatus.GOOD,
            now - 10 * minute, now - minute, None, None).responder_id(x509.ocsp.OCSPResponderEncoding.HASH, issuer)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def answer(self, request):
        """What OpenSSL's responder says to `request`."""
        (self.folder / "request.der").write_bytes(request)
        self._openssl("ocsp", "-index", self.index, "-CA", self.ca, "-rsigner", "ocsp.pem", "-rkey", "ocsp.key", "-nmin", 60, "-reqin",
            "request.der", "-respout", "response.der")
        return (self.folder / "response.der").read_bytes()


class Responder:
    """Serves on a port of the kernel's choice. `requests` are the bodies that came. Until `pki` is set, and while `fault` is, it says `fault`: a
    status, bytes, or "silent". `gate`: an Event that each answer waits for."""

    def __init__(self, address="127.0.0.1"):
        self.pki, self.fault, self.gate, self.requests = None, None, None, []
        self.lock, self.ended = threading.Lock(), threading.Event()
        responder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                responder._serve(self)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://{address}:{self.port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self.lock:
            self.requests.append(body)
        if self.gate:
            self.gate.wait(60)
        if self.fault == "silent":
            self.ended.wait(60)
            return
        answer = self.fault
        if answer is None:
            with self.lock:
                answer = self.pki.answer(body)
        if isinstance(answer, int):
            handler.send_error(answer)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "application/ocsp-response")
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.ended.set()
        if self.gate:
            self.gate.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
