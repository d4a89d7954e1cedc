//! What a mapping says of OPC UA: how a server is reached and known, and where a value is in it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use opcua::types::NodeId;
use stencil_yaml::{Content, Error, Fields, Node, integer, nearest, shown, text};

use super::{TcpAddress, files::Files, note};

/// The keys of a server.
const KNOWN: &[&str] = &[
    "url",
    "security",
    "server-certificate",
    "certificate",
    "key",
    "user",
    "password-file",
    "user-certificate",
    "user-key",
];
/// The port that IANA has given to OPC UA.
const PORT: u16 = 4840;
/// The longest URL.
const MAX_URL: usize = 255;
/// The longest node id.
const MAX_NODE: usize = 512;
/// How many values of a point wait in the server, if nothing is said.
const QUEUE: u32 = 10;

/// An OPC UA server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `opc.tcp://host:port/path`.
    pub url: Arc<str>,
    /// Its host and port.
    pub address: TcpAddress,
    /// How what passes between is protected.
    pub security: Security,
    /// Who we are to it.
    pub user: User,
    /// The folder that the files above have to be in, without links, where a mapping from elsewhere
    /// has named them.
    pub files_in: Option<Arc<Path>>,
}

/// How what passes between gateway and server is protected (Part 4, section 7.20).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Security {
    /// Not at all: anybody on the line reads and changes what passes.
    None,
    /// Signed and encrypted.
    Secured(Secured),
}

/// By what it is signed and encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// By which algorithms.
    pub policy: Policy,
    /// The server's certificate: this one, and no other.
    pub server_certificate: PathBuf,
    /// Ours.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A security policy (Part 7). All of them are classical: a recording of today can be read by a
/// quantum computer of tomorrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// RSA-OAEP with SHA-1, RSA-PKCS1-SHA256, AES-256-CBC, HMAC-SHA256.
    #[default]
    Basic256Sha256,
    /// RSA-OAEP with SHA-256, RSA-PSS-SHA256, AES-256-CBC, HMAC-SHA256.
    Aes256Sha256RsaPss,
}

/// Who we are to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum User {
    /// Nobody.
    Anonymous,
    /// A name, and the file with its password.
    Password {
        /// The name.
        name: String,
        /// The file; its first line is the password.
        file: PathBuf,
    },
    /// A certificate of the user's own.
    Certificate {
        /// The certificate.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// Where a value is in a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The node whose attribute Value it is.
    pub node: NodeId,
    /// What it is expected to be, where the mapping says.
    pub kind: Option<Kind>,
    /// How many of its values wait in the server while the connection is down or busy.
    pub queue: u32,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, whole or not.
    Number,
    /// True or false.
    Bool,
    /// A text.
    Text,
}

impl Server {
    /// Its URL, for messages.
    #[must_use]
    pub fn place(&self) -> Arc<str> {
        Arc::clone(&self.url)
    }

    /// The files that are read for it.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let secured = match &self.security {
            Security::None => None,
            Security::Secured(it) => Some([&it.server_certificate, &it.certificate, &it.key]),
        };
        let user = match &self.user {
            User::Anonymous => [None, None],
            User::Password { file, .. } => [Some(file), None],
            User::Certificate { certificate, key } => [Some(certificate), Some(key)],
        };
        let user = user.into_iter().flatten();
        secured
            .into_iter()
            .flatten()
            .chain(user)
            .map(PathBuf::as_path)
    }
}

impl Policy {
    /// All, with their names in a mapping.
    pub const ALL: [(&str, Policy); 2] = [
        ("Basic256Sha256", Policy::Basic256Sha256),
        ("Aes256Sha256RsaPss", Policy::Aes256Sha256RsaPss),
    ];

    /// Its URI (Part 7).
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Policy::Basic256Sha256 => "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256",
            Policy::Aes256Sha256RsaPss => {
                "http://opcfoundation.org/UA/SecurityPolicy#Aes256_Sha256_RsaPss"
            }
        }
    }

    /// By its name in a mapping; `Aes256_Sha256_RsaPss`, as the specification writes it, too.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.replace(['_', '-'], "");
        Self::ALL
            .into_iter()
            .find_map(|(known, policy)| known.eq_ignore_ascii_case(&name).then_some(policy))
    }
}

impl Kind {
    /// All, with their names in a mapping.
    pub const ALL: [(&str, Kind); 3] = [
        ("number", Kind::Number),
        ("bool", Kind::Bool),
        ("text", Kind::Text),
    ];
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// Splits `opc.tcp://host:port/path`.
///
/// # Errors
/// What would be right.
pub fn address(url: &str) -> Result<TcpAddress, String> {
    let wrong = || "write opc.tcp://host:4840/path, as the server's manual says".to_owned();
    let rest = url.strip_prefix("opc.tcp://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    if url.len() > MAX_URL || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    TcpAddress::parse(authority, PORT).map_err(|_| wrong())
}

/// Reads a server: a map, or its URL alone.
pub(super) fn server(node: &Node, files: Files<'_>, errors: &mut Vec<Error>) -> Option<Server> {
    if let Content::Text(_) = &node.content {
        errors.push(Error::new(
            node.at,
            "`opcua` says not how the server is known",
            "write `{ url: …, server-certificate: …, certificate: …, key: … }` (`stencil gateway \
             scan opcua` helps to get them), or `{ url: …, security: none }` for a line that \
             anybody on it may read and change",
        ));
        return None;
    }
    let fields = Fields::gathering(node, "an OPC UA server", KNOWN, errors)?;
    let url = note(errors, fields.need("url", "opc.tcp://192.0.2.10:4840"))
        .and_then(|node| note(errors, url(node)));
    let security = security(&fields, files, errors);
    let user = user(&fields, files, security.as_ref(), errors);
    let (url, address) = url?;
    Some(Server {
        url,
        address,
        security: security?,
        user: user?,
        files_in: files.folder(),
    })
}

fn url(node: &Node) -> Result<(Arc<str>, TcpAddress), Error> {
    let written = text(node, "url")?;
    match address(written) {
        Ok(address) => Ok((written.into(), address)),
        // It may hold a password, which is not for a log.
        Err(_) if written.contains('@') => Err(Error::new(
            node.at,
            format!(
                "`url` is {}, with a user in it",
                shown(&without_user(written))
            ),
            "leave the user out of it, and write `user` and `password-file`",
        )),
        Err(right) => Err(Error::new(
            node.at,
            format!("`url` is {}", shown(written)),
            right,
        )),
    }
}

/// A URL without what stands before its host, which may be a password.
#[must_use]
pub fn without_user(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}…@{host}"),
        None => url.to_owned(),
    }
}

fn security(fields: &Fields<'_>, files: Files<'_>, errors: &mut Vec<Error>) -> Option<Security> {
    const FILES: [&str; 3] = ["server-certificate", "certificate", "key"];
    let policy = match fields.get("security") {
        None => Policy::default(),
        Some(node) => {
            let name = note(errors, text(node, "security"))?;
            if name.eq_ignore_ascii_case("none") {
                for name in FILES {
                    if let Some(node) = fields.get(name) {
                        errors.push(Error::new(
                            node.at,
                            format!("`{name}` is of a line that is secured"),
                            "leave it out, or `security: none`",
                        ));
                    }
                }
                return Some(Security::None);
            }
            match Policy::from_name(name) {
                Some(policy) => policy,
                None => {
                    let names = [Policy::ALL[0].0, Policy::ALL[1].0, "none"];
                    let right = match nearest(name, &names) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!(
                            "write Basic256Sha256 or Aes256Sha256RsaPss, both signed and encrypted, \
                             or none; {} is not supported",
                            shown(name)
                        ),
                    };
                    errors.push(Error::new(
                        node.at,
                        format!("`security` is {}", shown(name)),
                        right,
                    ));
                    return None;
                }
            }
        }
    };
    let [server_certificate, certificate, key] =
        FILES.map(|name| needed(fields, files, name, errors));
    Some(Security::Secured(Secured {
        policy,
        server_certificate: server_certificate?,
        certificate: certificate?,
        key: key?,
    }))
}

fn user(
    fields: &Fields<'_>,
    files: Files<'_>,
    security: Option<&Security>,
    errors: &mut Vec<Error>,
) -> Option<User> {
    let named = ["user", "user-certificate"].map(|name| fields.get(name));
    let secret = ["password-file", "user-key"].map(|name| fields.get(name));
    let user = match named {
        [None, None] => {
            if let Some(node) = secret.into_iter().flatten().next() {
                errors.push(Error::new(
                    node.at,
                    "there is a secret, but nobody's",
                    "write `user` for `password-file`, `user-certificate` for `user-key`",
                ));
            }
            return Some(User::Anonymous);
        }
        [Some(node), None] => {
            let name = note(errors, text(node, "user"))?;
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                errors.push(Error::new(
                    node.at,
                    format!("`user` is {}", shown(name)),
                    "write the name that the server knows",
                ));
            }
            User::Password {
                name: name.to_owned(),
                file: needed(fields, files, "password-file", errors)?,
            }
        }
        [None, Some(_)] => User::Certificate {
            certificate: needed(fields, files, "user-certificate", errors)?,
            key: needed(fields, files, "user-key", errors)?,
        },
        [Some(node), Some(_)] => {
            errors.push(Error::new(
                node.at,
                "the user has a name and a certificate",
                "write `user` and `password-file`, or `user-certificate` and `user-key`",
            ));
            return None;
        }
    };
    if let Some(Security::None) = security {
        errors.push(Error::new(
            named
                .into_iter()
                .flatten()
                .next()
                .map_or(fields.at, |node| node.at),
            "there is a user on a line that is not secured",
            "anybody on it could take the user's place: write the certificates, and leave out \
             `security: none`",
        ));
    }
    Some(user)
}

/// The path of a file that has to be named.
fn needed(
    fields: &Fields<'_>,
    files: Files<'_>,
    name: &str,
    errors: &mut Vec<Error>,
) -> Option<PathBuf> {
    let example = format!("/etc/stencil/opcua/{name}.pem");
    let node = note(errors, fields.need(name, &example))?;
    let path = note(errors, text(node, name))?;
    let named = files.named(name, path);
    note(
        errors,
        named.map_err(|(what, right)| Error::new(node.at, what, right)),
    )
}

/// Reads where a point is.
pub(super) fn place(fields: &Fields<'_>, errors: &mut Vec<Error>) -> Option<Place> {
    let node = note(errors, fields.need("node", "\"ns=2;s=Line1.Temperature\""))
        .and_then(|node| note(errors, node_id(node)));
    let kind = fields.get("type").and_then(|node| {
        let name = note(errors, text(node, "type"))?;
        let found = Kind::ALL.into_iter().find(|(known, _)| *known == name);
        if found.is_none() {
            let names = Kind::ALL.map(|(name, _)| name);
            let right = match nearest(name, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "leave it out, as the server says its types; or write number, bool or \
                         text to be told when it gives something else"
                    .to_owned(),
            };
            errors.push(Error::new(
                node.at,
                format!("`type` is {}", shown(name)),
                right,
            ));
        }
        found.map(|(_, kind)| kind)
    });
    let queue = match fields.get("queue") {
        Some(node) => {
            let queue = note(errors, integer(node, "queue", 1, 10_000));
            queue
                .and_then(|queue| u32::try_from(queue).ok())
                .unwrap_or(QUEUE)
        }
        None => QUEUE,
    };
    Some(Place {
        node: node?,
        kind,
        queue,
    })
}

/// `ns=2;s=Line1.Temperature`, `ns=3;i=1001`, `g=…` and `b=…` (Part 6, section 5.3.1.10).
fn node_id(node: &Node) -> Result<NodeId, Error> {
    let written = text(node, "node")?;
    let parsed = (written.len() <= MAX_NODE).then(|| written.parse::<NodeId>().ok());
    parsed.flatten().ok_or_else(|| {
        let right = if written.starts_with("nsu=") {
            "write the index of the namespace, such as ns=2;s=…; `stencil gateway scan opcua` \
             prints node ids"
        } else {
            "write ns=2;s=Line1.Temperature or ns=3;i=1001; `stencil gateway scan opcua` prints \
             node ids"
        };
        Error::new(node.at, format!("`node` is {}", shown(written)), right)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mapping::{Link, Protocol, Target, parse};

    fn yaml(server: &str, point: &str) -> String {
        format!(
            "version: 1\nconnections:\n  c:\n    opcua: {server}\ndevices:\n  d:\n    connection: \
             c\n    points:\n      p: {point}\n"
        )
    }

    const SECURED: &str = "url: \"opc.tcp://plc.example/x\", server-certificate: /a/s.pem, \
                           certificate: /a/c.pem, key: /a/c.key";
    const PLAIN: &str = "{ url: \"opc.tcp://plc.example\", security: none }";
    const POINT: &str = "{ node: \"ns=2;s=Line1.Temp\" }";

    #[test]
    fn a_server_and_its_points_are_read() {
        let server = format!("{{ {SECURED}, user: ann, password-file: /a/password }}");
        let point = "{ node: \"ns=3;i=1001\", type: number, queue: 5, unit: Cel, every: 1s }";
        let mapping = parse(&yaml(&server, point)).unwrap_or_else(|errors| panic!("{errors}"));
        let connection = &mapping.connections[0];
        assert_eq!(connection.timeout, Duration::from_secs(10));
        let Protocol::OpcUa(server) = &connection.protocol else {
            panic!("{:?}", connection.protocol);
        };
        assert_eq!(
            (&*server.address.host, server.address.port),
            ("plc.example", 4840)
        );
        assert!(matches!(&server.security, Security::Secured(secured)
            if secured.policy == Policy::Basic256Sha256));
        assert!(matches!(&server.user, User::Password { name, .. } if name == "ann"));
        assert_eq!(connection.devices[0].link, Link::OpcUa);
        let Target::OpcUa(place) = &connection.devices[0].points[0].target else {
            panic!();
        };
        assert_eq!(place.node, NodeId::new(3, 1001_u32));
        assert_eq!((place.kind, place.queue), (Some(Kind::Number), 5));
        assert!(parse(&yaml(PLAIN, POINT)).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let secured = |more: &str| format!("{{ {SECURED}, {more} }}");
        let plain =
            |more: &str| format!("{{ url: \"opc.tcp://plc.example\", security: none, {more} }}");
        for (server, point, says) in [
            (
                "opc.tcp://plc.example".to_owned(),
                POINT,
                "says not how the server is known",
            ),
            (
                "{ url: \"opc.tcp://plc.example\" }".to_owned(),
                POINT,
                "server-certificate",
            ),
            (
                "{ url: \"plc.example\", security: none }".to_owned(),
                POINT,
                "write opc.tcp://",
            ),
            (secured("security: Basic256"), POINT, "is not supported"),
            (secured("security: Aes128"), POINT, "Aes128"),
            (secured("user: ann"), POINT, "password-file"),
            (secured("password-file: /a/b"), POINT, "nobody's"),
            (
                secured("user: ann, password-file: b"),
                POINT,
                "the whole path",
            ),
            (
                plain("user: ann, password-file: /a/b"),
                POINT,
                "not secured",
            ),
            (plain("key: /a/b"), POINT, "of a line that is secured"),
            (PLAIN.to_owned(), "{ holding: 1, type: u16 }", "`holding`"),
            (PLAIN.to_owned(), "{ unit: Cel }", "`node`"),
            (PLAIN.to_owned(), "{ node: Temp }", "ns=2;s="),
            (
                PLAIN.to_owned(),
                "{ node: \"nsu=urn:x;s=a\" }",
                "index of the namespace",
            ),
            (
                PLAIN.to_owned(),
                "{ node: \"i=1\", type: f32 }",
                "the server says its types",
            ),
            (
                PLAIN.to_owned(),
                "{ node: \"i=1\", type: text, unit: Cel }",
                "is of numbers",
            ),
            (PLAIN.to_owned(), "{ node: \"i=1\", queue: 0 }", "queue"),
        ] {
            let errors = parse(&yaml(&server, point)).unwrap_err().to_string();
            assert!(errors.contains(says), "{server} {point}: {errors}");
        }
        let modbus = yaml(PLAIN, POINT)
            .replace("    points:", "    unit: 1\n    points:")
            .replace("\ndevices", "\n    retries: 2\ndevices");
        let errors = parse(&modbus).unwrap_err().to_string();
        assert!(errors.contains("`unit` is of Modbus"), "{errors}");
        assert!(errors.contains("`retries` is of Modbus"), "{errors}");
    }

    #[test]
    fn a_mapping_from_afar_names_files_of_one_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let of = |password: &str, key: &str| {
            let server = format!(
                "{{ url: \"opc.tcp://plc.example\", server-certificate: s.pem, certificate: c.pem, \
                 key: {key}, user: ann, password-file: {password} }}"
            );
            yaml(&server, POINT)
        };
        let good = of("ann.password", "keys/c.key");
        let mapping = crate::mapping::parse_from_afar(&good, folder.path()).unwrap();
        let Protocol::OpcUa(server) = &mapping.connections[0].protocol else {
            panic!();
        };
        let files: Vec<_> = server.files().collect();
        let wanted = ["s.pem", "c.pem", "keys/c.key", "ann.password"];
        assert_eq!(files, wanted.map(|name| folder.path().join(name)));
        assert_eq!(server.files_in.as_deref(), Some(folder.path()));
        assert!(parse(&good).is_err(), "on the disk paths are whole");

        for (password, key, says) in [
            ("/var/lib/stencil/psk/a.psk", "c.key", "`password-file` is"),
            ("../data/keys.key", "c.key", "`password-file` is"),
            ("ann.password", "/etc/ssl/private/a.key", "`key` is"),
        ] {
            let refused = crate::mapping::parse_from_afar(&of(password, key), folder.path());
            let errors = refused.unwrap_err();
            assert_eq!((errors.0.len(), errors.0[0].at.line), (1, 4), "{errors}");
            assert!(errors.to_string().contains(says), "{errors}");
            assert!(errors.to_string().contains("`field.files`"), "{errors}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_told() {
        for url in [
            "opc.tcp://ann:hunter2@plc.example:4840/x",
            "opc.tcp://ann:hun/ter2@plc.example",
            "ann:hunter2@plc.example",
        ] {
            let server = format!("{{ url: \"{url}\", security: none }}");
            let errors = parse(&yaml(&server, POINT)).unwrap_err().to_string();
            let says = ["@plc.example", "password-file", "`url` is "];
            assert!(says.iter().all(|says| errors.contains(says)), "{errors}");
            assert!(!errors.contains("ter2"), "{errors}");
        }
    }

    #[test]
    fn addresses_are_of_opc_ua() {
        let port = |url: &str| address(url).map(|address| (address.host, address.port));
        assert_eq!(
            port("opc.tcp://[::1]:4841/a/b"),
            Ok(("::1".to_owned(), 4841))
        );
        assert_eq!(port("opc.tcp://h"), Ok(("h".to_owned(), 4840)));
        for bad in [
            "",
            "opc.tcp://",
            "http://h",
            "opc.tcp://h:0",
            "opc.tcp://h/a b",
            "opc.tcp://u@h",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
