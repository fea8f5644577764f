"""A scripted SMTP server: the mail server behind, as well-behaved or as broken as a test needs it."""

import base64
import contextlib
import hashlib
import socket
import ssl
import threading

from harness import wait_for


# Replies that are none. As a reply, a text gets its line end, bytes go out as they are, and a function is given the connection, after
# which the server hangs up.


def silent(connection):
    """Say nothing until the other side hangs up."""
    while connection.recv(65536):
        pass


def close(connection):
    """Hang up."""


def flood(block, count):
    """Send `block` again and again, as long as somebody reads."""
    def send(connection):
        for _ in range(count):
            connection.sendall(block)
        silent(connection)
    return send


def kind(reply):
    """The first digit of a reply; "" for what is none."""
    if callable(reply):
        return ""
    return reply[:1].decode("latin-1") if isinstance(reply, bytes) else reply[:1]


class Session:
    """One connection as the server saw it."""

    def __init__(self):
        self.commands = []   # (line, in TLS?)
        self.messages = []   # Message
        self.tls = None      # protocol once TLS is up
        self.client = None   # address of the other side
        self.resumed = False  # that TLS was
        self.sni = None      # the name that the client asked for
        self.account = None  # (user, password) of AUTH
        self.certificate = None  # SHA-256 of what the client showed; Peer.ask() makes it show one
        self.ended = False

    def verbs(self):
        return [line.split(" ")[0].split(":")[0].upper() for line, _ in self.commands]

    def said_in_clear(self, verb):
        return any(line.upper().startswith(verb) for line, tls in self.commands if not tls)


class Message:
    """A message that was accepted after its final dot."""

    def __init__(self, sender, recipients, raw, tls, chunked=False):
        self.sender = sender
        self.recipients = recipients
        self.raw = raw       # bytes between 354 and the end mark, still dot-stuffed; or those of BDAT
        self.tls = tls
        self.chunked = chunked

    @property
    def content(self):
        if self.chunked:
            return self.raw
        content = self.raw.replace(b"\r\n..", b"\r\n.")
        return content[1:] if content.startswith(b"..") else content


class Gate:
    """Lets the reply to a content go only when it is opened once for it: Peer(pause=gate.hold)."""

    def __init__(self):
        self.peer, self.opened, self.changed = None, 0, threading.Condition()

    def hold(self):
        with self.changed:
            self.changed.wait_for(lambda: len(self.peer.messages) <= self.opened, timeout=60)

    def open(self):
        with self.changed:
            self.opened += 1
            self.changed.notify_all()


class Peer:
    """Listens on a port of the kernel's choice. Replies are texts (or see above); a list is used up one by one, its last element stays.

    greeting, ehlo, helo, mail, rcpt, data, dot, rset, quit   replies; rcpt may also be a dictionary address -> reply(s); ehlo and
               helo None: the usual ones
    esmtp      False: EHLO is answered 502
    starttls   "good", "absent", "refused" (454), "broken" (220, then no handshake), "inject" (bytes behind the 220), "silent" (220, then
               nothing), or a reply
    offers     what EHLO lists besides SIZE and STARTTLS; tls_offers: the same in TLS, when it differs
    size       what EHLO says after SIZE; None: no SIZE
    rcpt_limit   the recipients that a transaction may have; more are answered 452 4.5.3
    close_after_dot   how many times the connection is closed instead of answering the final dot
    implicit_tls   TLS from the first byte
    auth       reply to the credentials of AUTH; the mechanisms stand in offers
    pause      function that is called before each reply, for a slow server
    buffer     bytes that the kernel takes for a server that does not read
    bytewise   read no byte behind a command, so that a function finds what came behind it in the connection
    """

    def __init__(self, pki, esmtp=True, starttls="good", mail="250 2.1.0 ok", rcpt="250 2.1.5 ok", rset="250 2.0.0 ok", ehlo=None, helo=None,
            data="354 go on", dot="250 2.0.0 taken", quit="221 2.0.0 bye", size=100_000_000, greeting="220 mx.good.test ESMTP",
            offers=("PIPELINING", "8BITMIME"), tls_offers=None, rcpt_limit=None, close_after_dot=0, pause=None, buffer=None, bytewise=False,
            address=("127.0.0.1", 0), implicit_tls=False, auth="235 2.7.0 ok"):
        self.esmtp, self.starttls, self.size = esmtp, starttls, size
        self.offers, self.tls_offers, self.rcpt_limit = offers, offers if tls_offers is None else tls_offers, rcpt_limit
        self.replies = {"GREETING": greeting, "EHLO": ehlo, "HELO": helo, "MAIL": mail, "RCPT": rcpt, "DATA": data, "DOT": dot, "QUIT": quit,
            "RSET": rset}
        self.close_after_dot, self.pause, self.bytewise = close_after_dot, pause, bytewise
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki.server, pki.key)
        self.context.sni_callback = self._note_name
        self.implicit_tls, self.auth, self.names = implicit_tls, auth, {}
        self.lock = threading.Lock()
        self.sessions = []
        self.threads = []
        self.sockets = set()
        self.stopping = False
        self.listener = socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
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

    def ask(self, authorities, require=False):
        """Ask clients for a certificate of one of these authorities (a file)."""
        self.context.load_verify_locations(authorities)
        self.context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_OPTIONAL

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

    def _note_name(self, tls, name, _):
        self.names[tls.fileno()] = name

    def secure(self, session, connection):
        """The connection in TLS."""
        secured = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.sockets.add(secured)
        self.names.pop(secured.fileno(), None)
        try:
            secured.do_handshake()
        finally:
            session.sni = self.names.get(secured.fileno())
        session.tls, session.resumed = secured.version(), secured.session_reused
        shown = secured.getpeercert(binary_form=True)
        session.certificate = shown and hashlib.sha256(shown).hexdigest()
        return secured

    def _serve(self, connection):
        session = Session()
        session.client = connection.getpeername()[0]
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
        if peer.implicit_tls:
            connection = peer.secure(session, connection)
        self.peer, self.session, self.connection = peer, session, connection
        self.file = connection.makefile("rb", buffering=0 if peer.bytewise else -1)
        self.sender, self.recipients, self.chunks = None, [], b""

    def say(self, reply):
        if self.peer.pause:
            self.peer.pause()
        if callable(reply):
            reply(self.connection)
            raise EOFError
        self.connection.sendall(reply if isinstance(reply, bytes) else reply.encode() + b"\r\n")

    def run(self):
        try:
            self.say(self.peer._next("GREETING"))
            while True:
                line = self.file.readline()
                if not line:
                    return
                if not line.endswith(b"\r\n"):
                    raise EOFError
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
            self.say(peer._next(verb) or self.hello(verb))
        elif verb == "STARTTLS":
            return self.start_tls()
        elif verb == "AUTH":
            self.authenticate(text.split(" "))
        elif verb == "MAIL":
            reply = peer._next("MAIL")
            if kind(reply) == "2":
                self.sender, self.recipients = text[text.index("<") + 1:text.index(">")], []
            self.say(reply)
        elif verb == "RCPT":
            address = text[text.index("<") + 1:text.index(">")]
            reply = "503 5.5.1 MAIL first"
            if self.sender is not None and len(self.recipients) == peer.rcpt_limit:
                reply = "452 4.5.3 too many recipients"
            elif self.sender is not None:
                reply = peer._next("RCPT", address)
            if kind(reply) == "2":
                self.recipients.append(address)
            self.say(reply)
        elif verb == "DATA":
            if self.sender is None or not self.recipients:
                self.say("503 5.5.1 RCPT first")
                return True
            reply = peer._next("DATA")
            self.say(reply)
            return kind(reply) != "3" or self.take()
        elif verb == "BDAT":
            return self.take_chunk(int(text.split()[1]), text.upper().endswith(" LAST"))
        elif verb == "RSET":
            self.sender, self.recipients = None, []
            self.chunks = b""
            self.say(peer._next("RSET"))
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

    def hello(self, verb):
        peer, tls = self.peer, self.session.tls is not None
        if verb == "HELO":
            return "250 mx.good.test"
        if not peer.esmtp:
            return "502 5.5.1 what?"
        offers = ["mx.good.test", *(peer.tls_offers if tls else peer.offers)]
        if peer.size is not None:
            offers.append(f"SIZE {peer.size}")
        if peer.starttls != "absent" and not tls:
            offers.append("STARTTLS")
        return "\r\n".join("250-" + o for o in offers[:-1]) + ("\r\n" if offers[1:] else "") + "250 " + offers[-1]

    def take(self):
        """The data up to CRLF.CRLF, byte by byte as it came, and the reply to it."""
        raw = b""
        while not (raw.endswith(b"\r\n.\r\n") or raw == b".\r\n"):
            line = self.file.readline()
            if not line:
                raise EOFError
            raw += line
        return self.end(raw[:-3])

    def take_chunk(self, size, last):
        self.chunks += self.file.read(size)
        if self.sender is None or not self.recipients:
            self.say("503 5.5.1 RCPT first")
        elif not last:
            self.say("250 2.0.0 more")
        else:
            raw, self.chunks = self.chunks, b""
            return self.end(raw, chunked=True)
        return True

    def end(self, raw, chunked=False):
        """The message is here; the reply to it."""
        if self.peer.close_after_dot > 0:
            self.peer.close_after_dot -= 1
            return False
        reply = self.peer._next("DOT")
        if kind(reply) == "2":
            message = Message(self.sender, self.recipients, raw, self.session.tls, chunked)
            with self.peer.lock:
                self.session.messages.append(message)
        self.sender, self.recipients = None, []
        self.say(reply)
        return True

    def authenticate(self, words):
        def heard(prompt):
            self.say("334 " + base64.b64encode(prompt).decode())
            return base64.b64decode(self.file.readline(), validate=False)

        if words[1] == "PLAIN":
            _, user, password = base64.b64decode(words[2]).split(b"\0")
        else:
            user, password = heard(b"Username:"), heard(b"Password:")
        self.session.account = (user.decode(), password.decode())
        self.say(self.peer.auth)

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
            silent(self.connection)
            return False
        elif mode == "silent":
            self.say("220 2.0.0 go on")
            silent(self.connection)
            return False
        elif mode != "good":
            self.say(mode)
            return kind(mode) != ""
        else:
            self.say("220 2.0.0 go on")
            self.connection = self.peer.secure(self.session, self.connection)
            self.file = self.connection.makefile("rb")
            self.sender, self.recipients = None, []
        return True


class Wiretap:
    """A port that hands everything on to the server at `behind` (host, port), and keeps what the client said, for each connection."""

    def __init__(self, behind, address=("127.0.0.1", 0)):
        self.behind, self.said = behind, []
        self.listener = socket.create_server(address)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.behind)
                self.said.append(bytearray())
                for come, go, kept in ((client, server, self.said[-1]), (server, client, bytearray())):
                    threading.Thread(target=self._carry, args=(come, go, kept), daemon=True).start()

    @staticmethod
    def _carry(come, go, kept):
        with contextlib.suppress(OSError):
            while data := come.recv(65536):
                kept += data
                go.sendall(data)
        with contextlib.suppress(OSError):
            go.shutdown(socket.SHUT_WR)

    def in_clear(self):
        """What the client said before TLS, for each connection (records of a handshake begin with 22, 3)."""
        return [bytes(said).partition(b"\x16\x03")[0] for said in self.said]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
