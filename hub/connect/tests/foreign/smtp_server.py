"""A mail server (aiosmtpd) that does what a scenario says, and prints what it got.

    smtp_server.py SCENARIO [CHAIN KEY]

The first line says the port; then each mail that came is a line of JSON, as Python's own
email package understands it. It ends when its standard input does.

Scenarios: plain; starttls; implicit; auth (STARTTLS, user "hub", password "s3cret"); login (the
same, AUTH LOGIN only); busy (the first mail is refused for now, 451); full (one recipient is
refused, 452); nobody (550 for "nobody@..."); never (554 at the end of the mail); cut (the
connection is closed in the first mail); mute (never greets).
"""
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

scenario = sys.argv[1]
context = None
if len(sys.argv) > 2:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[2], sys.argv[3])


def say(**line):
    print(json.dumps(line), flush=True)


def content(part):
    # Lines end with CR LF on the wire.
    return part.get_content().replace("\r\n", "\n")


class Handler:
    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if scenario == "nobody" and address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        if scenario == "full" and address.startswith("full@"):
            return "452 4.2.2 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        html = message.get_body(("html",))
        say(
            peer_ehlo=session.host_name,
            secure=server.transport.get_extra_info("ssl_object") is not None,
            user=(session.auth_data or b"").decode(),
            mail_from=envelope.mail_from,
            rcpt_tos=envelope.rcpt_tos,
            subject=message["subject"],
            from_=message["from"],
            to=[a.addr_spec for a in message["to"].addresses],
            date=message["date"].datetime.isoformat(),
            id=message["message-id"],
            auto=message["auto-submitted"],
            text=content(message.get_body(("plain",))),
            html=html and content(html),
            headers=sorted(message.keys()),
            defects=[str(d) for p in message.walk() for d in p.defects],
        )
        if scenario == "cut" and self.count == 1:
            server.transport.abort()
            return "250 never heard"
        if scenario == "busy" and self.count == 1:
            return "451 4.3.0 try again later"
        if scenario == "never":
            return "554 5.7.1 we want\tno mail"
        return f"250 2.0.0 queued as {self.count}"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data == LoginPassword(b"hub", b"s3cret")
    return AuthResult(success=good, handled=False, auth_data=data.login if good else None)


handler = Handler()
secured = scenario in ("starttls", "auth", "login")
signed = scenario in ("auth", "login")


def protocol():
    return SMTP(
        handler,
        tls_context=context if secured else None,
        require_starttls=secured,
        authenticator=authenticate if signed else None,
        auth_required=signed,
        auth_exclude_mechanism=["PLAIN"] if scenario == "login" else None,
        hostname="mail.test",
    )


class Mute(asyncio.Protocol):
    pass


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Mute if scenario == "mute" else protocol,
        "127.0.0.1",
        0,
        ssl=context if scenario == "implicit" else None,
    )
    say(port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
