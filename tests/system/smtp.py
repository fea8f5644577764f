"""A small SMTP client that sends exactly the bytes it is told to."""

import re
import socket
import ssl

from harness import PATIENCE


class Reply:
    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[-1][:3])
        self.text = "\n".join(lines)

    @property
    def status(self):
        """The enhanced status code, or None."""
        found = re.match(r"\d{3}[ -](\d\.\d{1,3}\.\d{1,3})(?: |$)", self.lines[-1])
        return found.group(1) if found else None

    @property
    def offers(self):
        """Keywords of an EHLO reply with their arguments."""
        words = [line[4:].split(" ", 1) for line in self.lines[1:]]
        return {w[0].upper(): (w[1] if len(w) > 1 else "") for w in words}

    def __repr__(self):
        return f"<{self.text}>"


class Closed(Exception):
    """The server closed the connection where a reply was expected."""


class Client:
    """greet     read the greeting
    source    address (127.x.y.z) to come from
    before    bytes that are sent as soon as the connection stands, such as a PROXY header
    """

    def __init__(self, address, greet=True, timeout=PATIENCE, source=None, before=b""):
        self.socket = socket.create_connection(address, timeout=timeout, source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if before:
            self.send(before)
        self.greeting = self.read() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    # Bytes

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        while b"\n" not in self.buffer:
            try:
                got = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError) as e:
                raise Closed(str(e)) from e
            if not got:
                raise Closed(f"end of file, with {self.buffer!r} left")
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a line that does not end in CRLF: {line!r}"
        return line[:-1].decode("latin-1")

    def rest(self):
        """All bytes until the server closes."""
        data = self.buffer
        self.buffer = b""
        while True:
            try:
                got = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                return data
            if not got:
                return data
            data += got

    # Replies

    def read(self):
        lines = []
        while True:
            line = self.line()
            assert re.match(r"[2-5]\d\d([ -]|$)", line), f"not a reply: {line!r}"
            assert not lines or line[:3] == lines[0][:3], f"codes differ within one reply: {lines + [line]}"
            lines.append(line)
            if line[3:4] != "-":
                return Reply(lines)

    def do(self, command):
        """Send one command line (text or bytes), read one reply."""
        self.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.read()

    def last_words(self):
        """Read replies until the server closes; all of them. Fails when bytes come that are no reply."""
        replies = []
        while True:
            try:
                replies.append(self.read())
            except Closed:
                assert self.buffer == b"", self.buffer
                return replies

    def expect_last(self, code, status=None):
        """Assert that one reply comes, with this code, and then the end of the connection."""
        replies = self.last_words()
        assert len(replies) == 1 and replies[0].code == code, f"expected {code} and the end, got {replies}"
        assert status is None or replies[0].status == status, f"expected {code} {status} and the end, got {replies}"
        return replies[0]

    def expect(self, command, code, status=None):
        """do(), and assert the reply's code and enhanced status."""
        reply = self.do(command)
        assert reply.code == code, f"{command!r}: expected {code}, got {reply}"
        if status is not None:
            assert reply.status == status, f"{command!r}: expected {code} {status}, got {reply}"
        return reply

    def expect_closed(self):
        """Assert that nothing but the end of the connection follows."""
        data = self.rest()
        assert data == b"", f"expected the connection to close, got {data!r}"

    # Steps

    def ehlo(self, name="client.sender.test"):
        return self.expect(f"EHLO {name}", 250)

    def handshake(self):
        """TLS now; returns the SSLSocket."""
        assert self.buffer == b"", f"bytes in clear before the handshake: {self.buffer!r}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_hostname="gw.good.test")
        return self.socket

    def starttls(self):
        self.expect("STARTTLS", 220)
        return self.handshake()

    def data(self, content):
        """DATA with dot-stuffing and the end mark; the reply to the end."""
        self.expect("DATA", 354)
        if not content.endswith(b"\r\n"):
            content += b"\r\n"
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        self.send(stuffed + b".\r\n")
        return self.read()

    def envelope(self, sender="a@sender.test", recipient="bob@good.test", parameters=""):
        """MAIL (with parameters) and RCPT, which must be accepted."""
        self.expect(f"MAIL FROM:<{sender}>{' ' + parameters if parameters else ''}", 250)
        self.expect(f"RCPT TO:<{recipient}>", 250)

    def data_as_it_is(self, data):
        """DATA, then these bytes without any stuffing or end mark; the reply to them."""
        self.expect("DATA", 354)
        self.send(data)
        return self.read()

    def bdat(self, data=b"", last=False):
        """One chunk; the reply to it."""
        self.send(b"BDAT %d%s\r\n%s" % (len(data), b" LAST" if last else b"", data))
        return self.read()

    def mail(self, sender, recipients, content):
        """One whole transaction that must succeed; the last reply."""
        self.expect(f"MAIL FROM:<{sender}>", 250)
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            self.expect(f"RCPT TO:<{recipient}>", 250)
        reply = self.data(content)
        assert reply.code == 250, reply
        return reply

    def quit(self):
        self.expect("QUIT", 221)
        self.expect_closed()


def submit(address, sender, recipients, content, tls=True, helo="client.sender.test"):
    """A whole session: EHLO, STARTTLS unless `tls` is false, one mail, QUIT. The reply to the end of the data."""
    with Client(address) as client:
        client.ehlo(helo)
        if tls:
            client.starttls()
            client.ehlo(helo)
        reply = client.mail(sender, recipients, content)
        client.quit()
        return reply
