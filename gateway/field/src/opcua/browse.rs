//! Looks what a server offers and what is in it. It only reads.

use std::{
    collections::{HashSet, VecDeque},
    path::Path,
    sync::Arc,
};

use opcua::{
    client::Session,
    types::{
        BrowseDescription, BrowseDirection, NodeClass, NodeId, ObjectId, ReadValueId,
        ReferenceDescription, ReferenceTypeId, StatusCode, TimestampsToReturn, Variant,
    },
};

use super::{
    files::{self, fingerprint},
    session,
    value::{name, told},
};
use crate::{
    Fault,
    mapping::{Connection, Protocol},
};

/// The most variables that are listed.
pub(super) const MAX_VARIABLES: usize = 2_000;
/// The most nodes that are looked into.
const MAX_NODES: usize = 20_000;
/// How deep below the folder Objects is looked.
const MAX_DEPTH: usize = 12;
/// How many nodes are asked about at once, and how many of their references come at once.
const CHUNK: usize = 50;
const REFERENCES: u32 = 1_000;
/// Which fields of references are wanted: all.
const ALL_FIELDS: u32 = 63;

/// A way that a server offers to connect to it, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The security policy, `none`, or one that is signed only.
    pub security: String,
    /// Whether a mapping may name it.
    pub is_supported: bool,
    /// How users say who they are: `anonymous`, `user name`, `certificate`.
    pub users: Vec<&'static str>,
    /// The SHA-256 of the server's certificate, if it shows one.
    pub fingerprint: Option<String>,
    certificate: Vec<u8>,
}

impl Offer {
    /// Keeps the certificate, to be named in a mapping from then on. It is trusted by who calls
    /// this, after having compared the fingerprint with what the server itself shows.
    ///
    /// # Errors
    /// What is in the way: there is none, or the file is there already.
    pub fn keep(&self, path: &Path) -> Result<(), String> {
        if self.certificate.is_empty() {
            return Err("the server shows no certificate here".to_owned());
        }
        files::keep(path, &self.certificate)
    }
}

/// What is in a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browsed {
    /// The variables below the folder Objects, without those of the server itself.
    pub variables: Vec<Variable>,
    /// Whether there are more than are listed.
    pub is_cut: bool,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The names on the way to it.
    pub path: Vec<String>,
    /// Its node id.
    pub node: String,
    /// Its value, or what it gives that can't be sent, or why it gives nothing.
    pub gives: String,
    /// Whether its values can be sent.
    pub is_good: bool,
}

/// Asks a server how it may be connected to. Nobody has proved anything then.
///
/// # Errors
/// Why there is no answer.
pub async fn offers(connection: &Connection) -> Result<Vec<Offer>, Fault> {
    let Protocol::OpcUa(server) = &connection.protocol else {
        return Err(Fault::Closed);
    };
    let offered = session::endpoints(server, connection.timeout).await?;
    Ok(offered
        .into_iter()
        .map(|endpoint| {
            use opcua::types::{MessageSecurityMode as Mode, UserTokenType};
            let der = endpoint.server_certificate.as_ref().to_vec();
            let uri = endpoint.security_policy_uri.as_ref();
            let known = crate::mapping::Policy::ALL
                .iter()
                .any(|(_, it)| it.uri() == uri);
            let tokens = endpoint.user_identity_tokens.iter().flatten();
            let mut users: Vec<&'static str> = tokens
                .filter_map(|token| match token.token_type {
                    UserTokenType::Anonymous => Some("anonymous"),
                    UserTokenType::UserName => Some("user name"),
                    UserTokenType::Certificate => Some("certificate"),
                    _ => None,
                })
                .collect();
            users.dedup();
            Offer {
                security: session::offer_name(&endpoint),
                is_supported: endpoint.security_mode == Mode::None
                    || (known && endpoint.security_mode == Mode::SignAndEncrypt),
                users,
                fingerprint: (!der.is_empty()).then(|| fingerprint(&der)),
                certificate: der,
            }
        })
        .collect())
}

/// Looks what is in a server.
///
/// # Errors
/// Why there is no session, or why it ended.
pub async fn look(
    connection: &Connection,
    mut progress: impl FnMut(&str),
) -> Result<Browsed, Fault> {
    let Protocol::OpcUa(server) = &connection.protocol else {
        return Err(Fault::Closed);
    };
    let mut opened = session::open(server, connection.timeout).await?;
    session::connected(server, &mut opened).await?;
    let refused = opened.refused.clone();
    let session = Arc::clone(&opened.session);
    let looking = async {
        let mut found = walk(&session, &mut progress).await?;
        progress(&format!("{} variables are read", found.variables.len()));
        read(&session, &mut found.variables).await?;
        Ok::<Browsed, StatusCode>(found)
    };
    let looked = session::while_driven(&mut opened.events, looking).await;
    opened.leave().await;
    match looked {
        Some(Ok(found)) => Ok(found),
        Some(Err(status)) => Err(session::fault(server, status, &refused)),
        None => Err(Fault::Closed),
    }
}

async fn walk(session: &Session, progress: &mut impl FnMut(&str)) -> Result<Browsed, StatusCode> {
    let mut found = Browsed::default();
    let mut seen: HashSet<NodeId> = HashSet::new();
    let mut ahead: VecDeque<(NodeId, Vec<String>)> = VecDeque::new();
    ahead.push_back((ObjectId::ObjectsFolder.into(), Vec::new()));
    while !ahead.is_empty() {
        let taken: Vec<_> = ahead.drain(..ahead.len().min(CHUNK)).collect();
        let nodes: Vec<NodeId> = taken.iter().map(|(node, _)| node.clone()).collect();
        let children = children(session, &nodes).await?;
        for ((_, path), references) in taken.iter().zip(children) {
            for reference in references {
                let node = reference.node_id.node_id.clone();
                // What the server says of itself is the same in all of them.
                if reference.node_id.server_index != 0 || node == ObjectId::Server {
                    continue;
                }
                if seen.len() >= MAX_NODES || found.variables.len() >= MAX_VARIABLES {
                    found.is_cut = true;
                    return Ok(found);
                }
                if !seen.insert(node.clone()) {
                    continue;
                }
                let mut path = path.clone();
                path.push(reference.display_name.text.as_ref().to_owned());
                if reference.node_class == NodeClass::Variable {
                    found.variables.push(Variable {
                        path: path.clone(),
                        node: node.to_string(),
                        gives: String::new(),
                        is_good: false,
                    });
                }
                if path.len() < MAX_DEPTH {
                    ahead.push_back((node, path));
                }
            }
        }
        progress(&format!(
            "{} nodes, {} variables",
            seen.len(),
            found.variables.len()
        ));
    }
    Ok(found)
}

/// What is below each of these nodes.
async fn children(
    session: &Session,
    nodes: &[NodeId],
) -> Result<Vec<Vec<ReferenceDescription>>, StatusCode> {
    let asked: Vec<BrowseDescription> = nodes
        .iter()
        .map(|node| BrowseDescription {
            node_id: node.clone(),
            browse_direction: BrowseDirection::Forward,
            reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
            include_subtypes: true,
            node_class_mask: NodeClass::Object as u32 | NodeClass::Variable as u32,
            result_mask: ALL_FIELDS,
        })
        .collect();
    let browsed = session.browse(&asked, REFERENCES, None).await;
    let browsed = browsed.map_err(|error| error.status())?;
    let mut all = Vec::with_capacity(nodes.len());
    for result in browsed {
        let mut references = result.references.unwrap_or_default();
        let mut point = result.continuation_point;
        while !point.is_null_or_empty() && references.len() < MAX_NODES {
            let more = session
                .browse_next(false, std::slice::from_ref(&point))
                .await;
            let Some(more) = more.map_err(|error| error.status())?.into_iter().next() else {
                break;
            };
            references.extend(more.references.unwrap_or_default());
            point = more.continuation_point;
        }
        all.push(references);
    }
    all.resize_with(nodes.len(), Vec::new);
    Ok(all)
}

/// Reads what the variables give.
async fn read(session: &Session, variables: &mut [Variable]) -> Result<(), StatusCode> {
    for chunk in variables.chunks_mut(CHUNK) {
        let nodes: Vec<ReadValueId> = chunk
            .iter()
            .filter_map(|it| Some(ReadValueId::from(it.node.parse::<NodeId>().ok()?)))
            .collect();
        let values = session.read(&nodes, TimestampsToReturn::Both, 0.0).await;
        let values = values.map_err(|error| error.status())?;
        for (variable, data) in chunk.iter_mut().zip(values) {
            let status = data.status();
            (variable.gives, variable.is_good) = match &data.value {
                _ if status.is_bad() => (told(status), false),
                Some(Variant::String(text)) => (format!("{:?}", text.as_ref()), true),
                Some(Variant::LocalizedText(text)) => (format!("{:?}", text.text.as_ref()), true),
                Some(Variant::Boolean(it)) => (it.to_string(), true),
                Some(value) => match value.as_f64() {
                    Some(number) => (number.to_string(), true),
                    None => (name(value).to_owned(), false),
                },
                None => ("nothing".to_owned(), false),
            };
        }
    }
    Ok(())
}
