//! An OPC UA server by asyncua, in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The peer; its process ends with it.
pub(crate) struct OpcUaPeer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    url: String,
    folder: TempDir,
}

impl OpcUaPeer {
    pub(crate) fn start() -> Self {
        let python = std::env::var_os("STENCIL_TEST_PYTHON")
            .map(PathBuf::from)
            .expect(
                "STENCIL_TEST_PYTHON names a Python with asyncua; `cargo xtask test` sets it up",
            );
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let script = ["tests", "../../tests"]
            .map(|tests| root.join(tests).join("foreign/opcua_peer.py"))
            .into_iter()
            .find(|script| script.exists())
            .expect("the peer's script");
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(python)
            .arg(script)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut peer = Self {
            child,
            input,
            output,
            url: String::new(),
            folder,
        };
        let first = peer.line();
        first["url"]
            .as_str()
            .expect("a URL")
            .clone_into(&mut peer.url);
        peer
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A file in its folder, where its certificates are.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The connection in a mapping, without security.
    pub(crate) fn plain(&self) -> String {
        format!("opcua: {{ url: \"{}\", security: none }}", self.url)
    }

    /// Gives a node a value of now.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>, kind: &str) {
        self.set_with(name, value, kind, json!({}));
    }

    /// Gives a node a value with its own times and status.
    pub(crate) fn set_with(
        &mut self,
        name: &str,
        value: impl Into<Value>,
        kind: &str,
        options: Value,
    ) {
        self.tell(&json!({ "set": [name, value.into(), kind, options] }));
    }

    /// Ends all connections; sessions live on.
    pub(crate) fn cut(&mut self) {
        self.tell(&json!({ "cut": true }));
    }

    /// Whether it takes connections; those that there are end when it doesn't.
    pub(crate) fn listen(&mut self, listens: bool) {
        self.tell(&json!({ "listen": listens }));
    }

    /// Forgets sessions, subscriptions and values.
    pub(crate) fn restart(&mut self) {
        self.tell(&json!({ "restart": true }));
    }

    /// How long each answer takes from now on.
    pub(crate) fn slow(&mut self, ms: u32) {
        self.tell(&json!({ "slow": ms }));
    }

    /// Which certificate it has after the next restart.
    pub(crate) fn certificate(&mut self, name: &str) {
        self.tell(&json!({ "certificate": name }));
    }

    /// Whether it takes filters of monitored items.
    pub(crate) fn filters(&mut self, takes: bool) {
        self.tell(&json!({ "filters": takes }));
    }

    /// What it counts.
    pub(crate) fn count(&mut self) -> Value {
        self.tell(&json!({ "count": true }))["done"].clone()
    }

    fn tell(&mut self, command: &Value) -> Value {
        let input = self.input.as_mut().expect("it runs");
        writeln!(input, "{command}").expect("it reads");
        self.line()
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the peer said {line:?}: {error}"))
    }
}

impl Drop for OpcUaPeer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
