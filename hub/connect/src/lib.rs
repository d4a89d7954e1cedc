//! Connectors: content, webhooks, device commands.
