use std::{io, net::SocketAddr, path::PathBuf};

/// Why a gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options contradict themselves.
    #[error("gateway options: {0}")]
    Options(String),
    /// The certificate, its key or the root cannot be used.
    #[error("the gateway's TLS identity: {0}")]
    Tls(#[from] stencil_crypto::tls::Error),
    /// The certificate isn't one of a gateway.
    #[error("{}: {what}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The spool cannot be opened or has failed.
    #[error("the spool: {0}")]
    Spool(#[from] stencil_log::Error),
    /// The keys that the hub gave cannot be read, or the gateway's own for them.
    #[error("the devices' keys: {0}")]
    Keys(String),
    /// The mapping of field devices cannot be used.
    #[error("{}:\n{errors}", path.display())]
    Mapping {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        errors: stencil_field::mapping::Errors,
    },
    /// What the hub desires of this gateway cannot be kept.
    #[error("the desired state: {0}")]
    Desired(String),
    /// MQTT devices cannot be listened for.
    #[error("the certificates for MQTT devices: {0}")]
    Mqtt(String),
    /// An MQTT client has a password already.
    #[error("{} exists; remove the client first if it is to get another password", .0.display())]
    ClientExists(PathBuf),
    /// A device has a key already.
    #[error("{} exists; delete it first if the device is to get another key", .0.display())]
    PskExists(PathBuf),
    /// A device's key cannot be written.
    #[error(transparent)]
    Key(#[from] stencil_crypto::keyfile::Error),
    /// An address cannot be listened on.
    #[error("{what} cannot listen on {address}: {source}")]
    Listen {
        /// Which setting.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be worked with.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The operating system gives no random numbers.
    #[error("no key for cookies: {0}")]
    Random(stencil_crypto::link::Error),
    /// A part of the gateway has ended by a bug.
    #[error("the gateway's {0} has ended unexpectedly")]
    Ended(&'static str),
}
