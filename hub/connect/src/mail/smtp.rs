//! Handing one mail to a server: the client's side of SMTP (RFC 5321).
//!
//! Our own, because no client library takes a rustls configuration, and mail is
//! to go over the hybrid key exchange where the server has it, and to say which
//! one it went over. One mail a connection: sign in, one envelope, one message.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use stencil_workflow::Failure;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::options::Security;
use crate::link::Link;

/// The longest line of an answer, and the most lines of one.
const MAX_LINE: u64 = 2_048;
const MAX_LINES: usize = 64;
/// How much of a server's words is kept.
const MAX_SHOWN: usize = 300;
/// How long the goodbye may take, which nobody waits for.
const GOODBYE: Duration = Duration::from_secs(5);

/// Where to and as whom.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) user: Option<(String, Zeroizing<String>)>,
    pub(super) timeout: Duration,
}

/// A mail in its envelope.
pub(super) struct Envelope<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a [String],
    pub(super) message: &'a [u8],
}

/// What came of it: the server has it.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The server's word, which often names the mail in its queue.
    pub(super) answer: String,
    /// Recipients that the server wants no mail for, with its words.
    pub(super) refused: Vec<(String, String)>,
    pub(super) link: Option<Link>,
}

/// Sends a mail. A recipient that is refused for good does not keep it from the
/// others; one that is refused for now does, and nobody gets it yet: it would
/// come to the others again.
pub(super) async fn send(server: &Server, mail: &Envelope<'_>) -> Result<Accepted, Failure> {
    let (mut session, link) = Session::open(server).await?;
    let size = mail.message.len();
    let limit = session.parameter("SIZE").and_then(|size| size.parse().ok());
    if limit.is_some_and(|limit: usize| limit != 0 && size > limit) {
        return Err(Failure::permanent(format!(
            "the mail has {size} bytes, and the mail server takes {}",
            limit.unwrap_or_default()
        )));
    }
    let declared = match limit {
        Some(_) => format!(" SIZE={size}"),
        None => String::new(),
    };
    let from = format!("MAIL FROM:<{}>{declared}", mail.from);
    session
        .command(&from, "MAIL")
        .await?
        .expect(250, "the sender")?;
    let (mut refused, mut accepted) = (Vec::new(), 0);
    for to in mail.to {
        let reply = session.command(&format!("RCPT TO:<{to}>"), "RCPT").await?;
        match reply.code {
            250..=252 => accepted += 1,
            500..=599 => refused.push((to.clone(), reply.shown())),
            _ => reply.expect(250, &format!("mail for {to}"))?,
        }
    }
    if accepted == 0 {
        let all: Vec<_> = refused
            .iter()
            .map(|(to, why)| format!("{to}: {why}"))
            .collect();
        let message = format!("the mail server refused all recipients: {}", all.join("; "));
        return Err(Failure::permanent(message));
    }
    session
        .command("DATA", "DATA")
        .await?
        .expect(354, "the mail")?;
    session.say(&stuffed(mail.message), "the mail").await?;
    // From here to the answer nobody can know whether the server has it: if the
    // answer is lost, the mail is sent again, with the same Message-ID.
    let reply = session.answer("the end of the mail").await?;
    reply.expect(250, "the mail")?;
    tokio::spawn(session.goodbye());
    Ok(Accepted {
        answer: reply.shown(),
        refused,
        link,
    })
}

/// A message with its end: a line that begins with a dot gets another one
/// (RFC 5321, 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut line_begins = true;
    for &byte in message {
        if line_begins && byte == b'.' {
            out.push(b'.');
        }
        line_begins = byte == b'\n';
        out.push(byte);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// A server's answer.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// Whether it is what it has to be; if not, whether that may pass: 4xx does.
    fn expect(&self, code: u16, what: &str) -> Result<(), Failure> {
        if self.code == code {
            return Ok(());
        }
        let message = format!("the mail server refused {what}: {}", self.shown());
        match self.code {
            500..=599 => Err(Failure::permanent(message)),
            _ => Err(Failure::retryable(message)),
        }
    }

    fn shown(&self) -> String {
        let text = format!("{} {}", self.code, self.lines.join(" "));
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        clean
            .take(MAX_SHOWN)
            .collect::<String>()
            .trim_end()
            .to_owned()
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Session {
    stream: BufReader<Box<dyn Stream>>,
    /// The lines of the answer to EHLO, in capitals.
    extensions: Vec<String>,
    timeout: Duration,
    here: SocketAddr,
}

impl Session {
    /// Connects, secures the connection and signs in.
    async fn open(server: &Server) -> Result<(Self, Option<Link>), Failure> {
        let unreachable =
            |why: String| Failure::retryable(format!("the mail server cannot be reached: {why}"));
        let connecting = timeout(server.timeout, connect(server)).await;
        let tcp = connecting
            .map_err(|_| unreachable("no connection in time".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        let here = tcp
            .local_addr()
            .map_err(|error| unreachable(error.to_string()))?;
        let peer = tcp
            .peer_addr()
            .map_err(|error| unreachable(error.to_string()))?;
        if server.security == Security::None && !peer.ip().is_loopback() {
            let message = format!("{peer} is another machine, and mail goes there over TLS only");
            return Err(Failure::permanent(message));
        }
        let mut link = None;
        let stream: Box<dyn Stream> = match server.security {
            Security::Implicit => Box::new(secured(server, tcp, &mut link).await?),
            Security::Starttls => {
                // Bare reads of the greeting and two answers, so that nothing that came in
                // the clear is left in a buffer when TLS begins (CVE-2011-0411).
                let mut plain = Session::over(Box::new(tcp), server, here);
                plain.greeted().await?;
                if plain.parameter("STARTTLS").is_none() {
                    let message = "the mail server offers no STARTTLS; use `tls = \"implicit\"`, \
                                   or another server";
                    return Err(Failure::permanent(message));
                }
                let reply = plain.command("STARTTLS", "STARTTLS").await?;
                reply.expect(220, "STARTTLS")?;
                if !plain.stream.buffer().is_empty() {
                    let message = "the mail server said more than it may before TLS began";
                    return Err(Failure::permanent(message));
                }
                Box::new(secured(server, plain.stream.into_inner(), &mut link).await?)
            }
            Security::None => Box::new(tcp),
        };
        let mut session = Session::over(stream, server, here);
        match server.security {
            // There is no second greeting.
            Security::Starttls => session.hello().await?,
            Security::Implicit | Security::None => session.greeted().await?,
        }
        if let Some((user, password)) = &server.user {
            session.sign_in(user, password).await?;
        }
        Ok((session, link))
    }

    fn over(stream: Box<dyn Stream>, server: &Server, here: SocketAddr) -> Self {
        Self {
            stream: BufReader::new(stream),
            extensions: Vec::new(),
            timeout: server.timeout,
            here,
        }
    }

    async fn greeted(&mut self) -> Result<(), Failure> {
        self.answer("the connection")
            .await?
            .expect(220, "the connection")?;
        self.hello().await
    }

    async fn hello(&mut self) -> Result<(), Failure> {
        // A name that the server could look up is not known here; an address
        // literal stands for it (RFC 5321, 4.1.3).
        let hello = match self.here {
            SocketAddr::V4(here) => format!("EHLO [{}]", here.ip()),
            SocketAddr::V6(here) => format!("EHLO [IPv6:{}]", here.ip()),
        };
        let reply = self.command(&hello, "EHLO").await?;
        reply.expect(250, "EHLO")?;
        let lines = reply.lines.into_iter().skip(1);
        self.extensions = lines.map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    /// What an extension says of itself, if the server has it.
    fn parameter(&self, extension: &str) -> Option<&str> {
        self.extensions.iter().find_map(|line| {
            let rest = line.strip_prefix(extension)?;
            (rest.is_empty() || rest.starts_with([' ', '='])).then(|| rest[..].trim())
        })
    }

    async fn sign_in(&mut self, user: &str, password: &str) -> Result<(), Failure> {
        let offered = self.parameter("AUTH").unwrap_or_default();
        let offers = |kind: &str| offered.split_ascii_whitespace().any(|one| one == kind);
        let who = format!("the user `{user}`");
        if offers("PLAIN") {
            let both = Zeroizing::new(format!("\0{user}\0{password}"));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", STANDARD.encode(both.as_bytes())));
            return self.command(&line, "AUTH").await?.expect(235, &who);
        }
        if offers("LOGIN") {
            self.command("AUTH LOGIN", "AUTH")
                .await?
                .expect(334, &who)?;
            let reply = self.command(&STANDARD.encode(user), "AUTH").await?;
            reply.expect(334, &who)?;
            let line = Zeroizing::new(STANDARD.encode(password));
            return self.command(&line, "AUTH").await?.expect(235, &who);
        }
        let message = format!("the mail server takes neither PLAIN nor LOGIN, but {offered:?}");
        Err(Failure::permanent(message))
    }

    /// Says a line and reads the answer; `what` names it, which may be secret.
    async fn command(&mut self, line: &str, what: &str) -> Result<Reply, Failure> {
        let line = Zeroizing::new(format!("{line}\r\n"));
        self.say(line.as_bytes(), what).await?;
        self.answer(what).await
    }

    async fn say(&mut self, bytes: &[u8], what: &str) -> Result<(), Failure> {
        let stream = self.stream.get_mut();
        let said = timeout(self.timeout, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        lost(said.await, what)
    }

    async fn answer(&mut self, what: &str) -> Result<Reply, Failure> {
        let read = timeout(self.timeout, self.read());
        lost(read.await, what)
    }

    /// `250-first`, `250-second`, `250 last`.
    async fn read(&mut self) -> io::Result<Reply> {
        let bad = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut self.stream).take(MAX_LINE);
            limited.read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !line.ends_with(b"\n") {
                return bad("a line of its answer has no end");
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let Some(code) = code.filter(|code| (200..=599).contains(code)) else {
                return bad("its answer is none of SMTP");
            };
            let (mark, text) = (line.as_bytes().get(3), line.get(4..).unwrap_or_default());
            lines.push(text.to_owned());
            match mark {
                Some(b'-') if lines.len() < MAX_LINES => {}
                Some(b'-') => return bad("its answer has no end"),
                None | Some(b' ') => return Ok(Reply { code, lines }),
                Some(_) => return bad("its answer is none of SMTP"),
            }
        }
    }

    async fn goodbye(mut self) {
        let _ = timeout(GOODBYE, async {
            let stream = self.stream.get_mut();
            stream.write_all(b"QUIT\r\n").await?;
            stream.flush().await?;
            self.read().await
        })
        .await;
    }
}

/// A connection that broke, or an answer that does not come, may pass.
fn lost<T>(done: Result<io::Result<T>, Elapsed>, what: &str) -> Result<T, Failure> {
    let why = match done {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it did not answer in time".to_owned(),
    };
    Err(Failure::retryable(format!(
        "the mail server was lost at {what}: {why}"
    )))
}

/// A connection to the first of the server's addresses that answers.
async fn connect(server: &Server) -> io::Result<TcpStream> {
    TcpStream::connect((server.host.as_str(), server.port)).await
}

async fn secured<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    stream: S,
    link: &mut Option<Link>,
) -> Result<tokio_rustls::client::TlsStream<S>, Failure> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|error| Failure::permanent(format!("`{}`: {error}", server.host)))?;
    let connector = TlsConnector::from(Arc::clone(&server.tls));
    let stream = lost(
        timeout(server.timeout, connector.connect(name, stream)).await,
        "TLS",
    )?;
    *link = Link::of(stream.get_ref().1);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_that_begin_a_line_are_doubled() {
        assert_eq!(
            stuffed(b"a\r\n.\r\n..b\r\nc."),
            b"a\r\n..\r\n...b\r\nc.\r\n.\r\n"
        );
        assert_eq!(stuffed(b".\r\n"), b"..\r\n.\r\n");
    }
}
