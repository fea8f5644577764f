"""A scripted SMTP server: the mail server behind, as well-behaved or as broken as a test needs it."""

import socket
import ssl
import threading

from harness import wait_for


class Session:
    """One connection as the server saw it."""

    def __init__(self):
        self.commands = []   # (line, in TLS?)
        self.messages = []   # Message
        self.tls = None      # protocol once TLS is up
        self.ended = False

    def verbs(self):
        return [line.split(" ")[0].split(":")[0].upper() for line, _ in self.commands]

    def said_in_clear(self, verb):
        return any(line.upper().startswith(verb) for line, tls in self.commands if not tls)


class Message:
    """A message that was accepted after its final dot."""

    def __init__(self, sender, recipients, raw, tls):
        self.sender = sender
        self.recipients = recipients
        self.raw = raw       # bytes between 354 and the end mark, still dot-stuffed
        self.tls = tls

    @property
    def content(self):
        content = self.raw.replace(b"\r\n..", b"\r\n.")
        return content[1:] if content.startswith(b"..") else content


class Peer:
    """Listens on a port of the kernel's choice. Replies are texts; a list is used up one by one, its last element stays.

    esmtp      False: EHLO is answered 502
    starttls   "good", "absent", "refused" (454), "broken" (220, then no handshake), "inject" (bytes behind the 220)
    mail, rcpt, data, dot, rset, quit   replies; rcpt may also be a dictionary address -> reply(s)
    close_after_dot   how many times the connection is closed instead of answering the final dot
    size       what EHLO says after SIZE
    offers     further lines of the reply to EHLO
    pause      function that is called before each reply, for a slow server
    """

    def __init__(self, pki, esmtp=True, starttls="good", mail="250 2.1.0 ok", rcpt="250 2.1.5 ok",
            data="354 go on", dot="250 2.0.0 taken", quit="221 2.0.0 bye", size=100_000_000, greeting="220 mx.good.test ESMTP",
            close_after_dot=0, pause=None, address=("127.0.0.1", 0), offers=()):
        self.esmtp, self.starttls, self.size, self.greeting = esmtp, starttls, size, greeting
        self.replies = {"MAIL": mail, "RCPT": rcpt, "DATA": data, "DOT": dot, "QUIT": quit}
        self.close_after_dot, self.pause, self.offers = close_after_dot, pause, offers
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki.server, pki.key)
        self.lock = threading.Lock()
        self.sessions = []
        self.threads = []
        self.sockets = set()
        self.stopping = False
        self.listener = socket.create_server(address)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._spawn(self._accept)

    def _spawn(self, run, *arguments):
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def stop(self):
        self.stopping = True
        for s in [self.listener, *list(self.sockets)]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        for thread in self.threads:
            thread.join(timeout=10)

    # What happened

    @property
    def messages(self):
        with self.lock:
            return [m for s in self.sessions for m in s.messages]

    def wait(self, count=1):
        """Wait for `count` messages in all."""
        return wait_for(lambda: f"{count} messages at the peer ({len(self.messages)} came)",
            lambda: len(self.messages) >= count and self.messages)

    def wait_sessions(self, count=1):
        """Wait until `count` connections have come and gone."""
        def ended():
            with self.lock:
                done = [s for s in self.sessions if s.ended]
            return done if len(done) >= count else None
        return wait_for(f"{count} finished connections at the peer", ended)

    # The server

    def _accept(self):
        while not self.stopping:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.add(connection)
            self._spawn(self._serve, connection)

    def _next(self, key, argument=None):
        with self.lock:
            reply = self.replies[key]
            table = self.replies
            if isinstance(reply, dict):
                table, key = reply, argument if argument in reply else "*"
                reply = table.get(key, "250 2.1.5 ok")
            if isinstance(reply, list):
                return reply.pop(0) if len(reply) > 1 else reply[0]
            return reply

    def _serve(self, connection):
        session = Session()
        with self.lock:
            self.sessions.append(session)
        try:
            _Talk(self, session, connection).run()
        except (OSError, ssl.SSLError, EOFError, ValueError):
            pass
        finally:
            session.ended = True


class _Talk:
    def __init__(self, peer, session, connection):
        connection.settimeout(60)
        self.peer, self.session, self.connection = peer, session, connection
        self.file = connection.makefile("rb")
        self.sender, self.recipients = None, []

    def say(self, text):
        if self.peer.pause:
            self.peer.pause()
        self.connection.sendall(text.encode() + b"\r\n")

    def run(self):
        try:
            self.say(self.peer.greeting)
            while True:
                line = self.file.readline()
                if not line:
                    return
                assert line.endswith(b"\r\n"), line
                text = line[:-2].decode("latin-1")
                self.session.commands.append((text, self.session.tls is not None))
                if not self.command(text):
                    return
        finally:
            # shutdown() also ends the reader's copy of the descriptor
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.connection.close()

    def command(self, text):
        peer, verb = self.peer, text.split(" ")[0].upper()
        if verb in ("EHLO", "HELO"):
            self.sender, self.recipients = None, []
            if verb == "HELO":
                self.say("250 mx.good.test")
            elif not peer.esmtp:
                self.say("502 5.5.1 what?")
            else:
                offers = ["mx.good.test", "PIPELINING", "8BITMIME", f"SIZE {peer.size}", *peer.offers]
                if peer.starttls != "absent" and self.session.tls is None:
                    offers.append("STARTTLS")
                self.say("\r\n".join("250-" + o for o in offers[:-1]) + "\r\n250 " + offers[-1])
        elif verb == "STARTTLS":
            return self.start_tls()
        elif verb == "MAIL":
            reply = peer._next("MAIL")
            if reply[0] == "2":
                self.sender, self.recipients = text[text.index("<") + 1:text.index(">")], []
            self.say(reply)
        elif verb == "RCPT":
            address = text[text.index("<") + 1:text.index(">")]
            reply = peer._next("RCPT", address) if self.sender is not None else "503 5.5.1 MAIL first"
            if reply[0] == "2":
                self.recipients.append(address)
            self.say(reply)
        elif verb == "DATA":
            if self.sender is None or not self.recipients:
                self.say("503 5.5.1 RCPT first")
                return True
            reply = peer._next("DATA")
            self.say(reply)
            return reply[0] != "3" or self.take()
        elif verb == "RSET":
            self.sender, self.recipients = None, []
            self.say("250 2.0.0 ok")
        elif verb == "NOOP":
            self.say("250 2.0.0 ok")
        elif verb == "QUIT":
            reply = peer._next("QUIT")
            if reply:
                self.say(reply)
            return False
        else:
            self.say("500 5.5.2 what?")
        return True

    def take(self):
        """The data up to CRLF.CRLF, byte by byte as it came, and the reply to it."""
        raw = b""
        while not (raw.endswith(b"\r\n.\r\n") or raw == b".\r\n"):
            line = self.file.readline()
            if not line:
                raise EOFError
            raw += line
        if self.peer.close_after_dot > 0:
            self.peer.close_after_dot -= 1
            return False
        reply = self.peer._next("DOT")
        if reply[0] == "2":
            message = Message(self.sender, self.recipients, raw[:-3], self.session.tls)
            with self.peer.lock:
                self.session.messages.append(message)
        self.sender, self.recipients = None, []
        self.say(reply)
        return True

    def start_tls(self):
        mode = self.peer.starttls
        if mode == "absent":
            self.say("502 5.5.1 not here")
        elif mode == "refused":
            self.say("454 4.7.0 TLS not available due to temporary reason")
        elif mode == "broken":
            self.say("220 2.0.0 go on")
            self.connection.recv(1)
            self.connection.sendall(b"this is not a ServerHello\r\n")
            return False
        elif mode == "inject":
            self.connection.sendall(b"220 2.0.0 go on\r\n250 2.0.0 injected\r\n")
            while self.connection.recv(4096):
                pass
            return False
        else:
            self.say("220 2.0.0 go on")
            old = self.connection
            self.connection = self.peer.context.wrap_socket(old, server_side=True)
            self.peer.sockets.add(self.connection)
            self.file = self.connection.makefile("rb")
            self.session.tls = self.connection.version()
            self.sender, self.recipients = None, []
        return True
