"""Many SMTP clients and the mail server behind, all in one thread: while it does not run a turn, nothing moves but the gateway. So a test
can hold everything still and say exactly who has heard what.

Every mail carries a token, as its sender's local part and in its content. A client sends a token once and never again; what it hears, or that
it hears nothing, stands in the Mail. The server keeps what it took.
"""

import collections
import hashlib
import re
import selectors
import socket
import time

import harness

SMALL, LARGE = 2_000, 150_000  # in the row, in a file
LATER = "later"  # the server refuses this recipient of a mail once, for now


def content(token, size):
    """The message with this token: everything in it follows from the token and the size."""
    line = (hashlib.sha256(token.encode()).hexdigest() * 10 + "\r\n").encode()
    return f"Subject: {token}\r\n\r\n".encode() + line * (size // len(line))


class Mail:
    def __init__(self, token, size, recipients):
        self.token, self.size, self.recipients = token, size, recipients
        self.state = "new"   # new, data (between DATA and the reply to the end of the data), answered, cut
        self.sent_all = False
        self.code = None     # of that reply

    @property
    def sender(self):
        return f"{self.token}@sender.test"


class Cut(Exception):
    """The connection has ended; thrown into the script."""


class Talk:
    """One connection and the script that runs on it: a generator that is given each line that came."""

    def __init__(self, storm, connection, script):
        self.storm, self.connection = storm, connection
        self.came, self.to_send, self.ended = b"", b"", False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        storm.selector.register(connection, selectors.EVENT_READ, self.ready)
        self.script = script(self)
        self.resume(lambda: next(self.script))

    def send(self, data):
        self.to_send += data
        self.flush()

    def flush(self):
        try:
            while self.to_send:
                self.to_send = self.to_send[self.connection.send(self.to_send):]
        except BlockingIOError:
            pass
        except OSError:
            self.to_send = b""  # reading will tell
        self.storm.selector.modify(self.connection,
            selectors.EVENT_READ | (selectors.EVENT_WRITE if self.to_send else 0), self.ready)

    def resume(self, step):
        try:
            step()
        except StopIteration:
            self.end()
        except Cut:
            self.end()

    def end(self):
        if not self.ended:
            self.ended = True
            self.storm.selector.unregister(self.connection)
            self.connection.close()
            self.storm.talks.discard(self)

    def ready(self, mask):
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = self.connection.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.came += data
        *lines, self.came = self.came.split(b"\n")
        for line in lines:
            if not self.ended:
                self.resume(lambda: self.script.send(line + b"\n"))
        if not data and not self.ended:
            self.resume(lambda: self.script.throw(Cut()))
            self.end()


class Taken:
    """One transaction that the server saw."""

    def __init__(self, token):
        self.token, self.recipients, self.accepted, self.whole = token, [], False, False


class Storm:
    """address      where the gateway listens, None while it does not run
    clients      how many send at the same time"""

    def __init__(self):
        self.address, self.clients = None, 0
        self.selector = selectors.DefaultSelector()
        self.talks = set()
        self.mails = {}             # token -> Mail; those that came to DATA
        self.count = 0
        self.transactions = []      # Taken, in the order of MAIL
        self.open_sessions = {}     # Talk of the server -> its last Taken
        self.postponed = set()      # tokens that LATER was refused for
        self.sending = True
        self.live_clients = 0
        self.connect_at = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.next_hop = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def close(self):
        for talk in list(self.talks):
            talk.end()
        self.listener.close()
        self.selector.close()

    # Turns

    def turn(self, timeout=0.02):
        """Do what can be done; false when there was nothing."""
        self.add_clients()
        ready = self.selector.select(timeout)
        for key, mask in ready:
            if key.fileobj.fileno() >= 0:  # not ended by another one in this turn
                key.data(mask)
        return bool(ready)

    def until(self, what, check, patience=harness.PATIENCE):
        deadline = time.monotonic() + patience
        while not check():
            if time.monotonic() > deadline:
                raise harness.Late(f"{what() if callable(what) else what}: not within {patience} s")
            self.turn()

    def settle(self):
        """Take everything that has arrived. To be called while the gateway stands still."""
        adds, self.clients = self.clients, 0
        while self.turn(timeout=0.01):
            pass
        self.clients = adds

    # Clients

    def add_clients(self):
        now = time.monotonic()
        while self.sending and self.address and self.live_clients < self.clients and now >= self.connect_at:
            try:
                connection = socket.create_connection(self.address, timeout=5)
            except OSError:
                self.connect_at = now + 0.05
                return
            self.live_clients += 1
            self.talks.add(Talk(self, connection, self.client))

    def next_mail(self):
        number = self.count = self.count + 1
        token = f"t{number:06}"
        recipients = [f"bob{number % 7}@good.test"]
        if number % 3 == 0:
            recipients.append(f"{LATER}@good.test")
        return Mail(token, LARGE if number % 2 == 0 else SMALL, recipients)

    def client(self, talk):
        mail = None

        def reply():
            while True:
                line = yield
                if line[3:4] != b"-":
                    return int(line[:3])

        try:
            yield from reply()
            talk.send(b"EHLO client.sender.test\r\n")
            yield from reply()
            while self.sending:
                mail = self.next_mail()
                talk.send(f"MAIL FROM:<{mail.sender}>\r\n".encode())
                ok = (yield from reply()) == 250
                for recipient in mail.recipients if ok else []:
                    talk.send(f"RCPT TO:<{recipient}>\r\n".encode())
                    ok = (yield from reply()) == 250 and ok
                if ok:
                    talk.send(b"DATA\r\n")
                    self.mails[mail.token] = mail
                    mail.state = "data"
                    ok = (yield from reply()) == 354
                if ok:
                    talk.send(content(mail.token, mail.size) + b".\r\n")
                    mail.sent_all = True
                    mail.code = yield from reply()
                mail.state = "answered"
                if mail.code != 250:  # a role is away
                    self.connect_at = time.monotonic() + 0.02
                    return
        finally:
            self.live_clients -= 1
            if mail is not None and mail.state == "data":
                mail.state = "cut"

    def in_data(self):
        return [mail for mail in self.mails.values() if mail.state == "data"]

    # The mail server behind

    def accept(self, mask):
        del mask
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            self.talks.add(Talk(self, connection, self.serve))

    def serve(self, talk):
        self.open_sessions[talk] = None
        try:
            talk.send(b"220 mx.good.test ESMTP\r\n")
            taken = None
            while True:
                line = (yield).decode().strip()
                verb = line[:4].upper()
                if verb == "EHLO":
                    talk.send(b"250-mx.good.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n")
                elif verb == "MAIL":
                    taken = self.open_sessions[talk] = Taken(re.search(r"<(.*?)@", line)[1])
                    self.transactions.append(taken)
                    talk.send(b"250 2.1.0 ok\r\n")
                elif verb == "RCPT":
                    recipient = re.search(r"<(.*)>", line)[1]
                    if recipient.startswith(LATER) and taken.token not in self.postponed:
                        self.postponed.add(taken.token)
                        talk.send(b"451 4.2.0 later\r\n")
                    else:
                        taken.recipients.append(recipient)
                        talk.send(b"250 2.1.5 ok\r\n")
                elif verb == "DATA" and taken.recipients:
                    talk.send(b"354 go on\r\n")
                    message = yield from self.message()
                    taken.whole = message == content(taken.token, self.mails[taken.token].size)
                    taken.accepted = True
                    talk.send(b"250 2.0.0 taken\r\n")
                elif verb == "QUIT":
                    talk.send(b"221 2.0.0 bye\r\n")
                    return
                else:
                    talk.send(b"250 2.0.0 ok\r\n" if verb in ("RSET", "NOOP") else b"503 5.5.1 no\r\n")
        finally:
            self.open_sessions.pop(talk)

    @staticmethod
    def message():
        """The data up to the dot, without the Received field in front (no line of ours begins with a dot)."""
        lines = []
        while True:
            line = yield
            if line == b".\r\n":
                break
            lines.append(line)
        return harness.split_received(b"".join(lines))[1]

    def accepted(self):
        """(token, recipient) -> how often the server took it."""
        return collections.Counter((taken.token, recipient) for taken in self.transactions if taken.accepted
            for recipient in taken.recipients)
