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
    def __init__(self, address, greet=True, timeout=PATIENCE):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
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
        """Send one command line, read one reply."""
        self.send(command.encode() + b"\r\n")
        return self.read()

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
