//! Workflows that may cause themselves, as far as their text shows it.

use super::source::read_address;
use super::{Action, Definition, Source};

impl Definition {
    /// What its author should look at again though it can be taken: steps that send to the very contract whose
    /// event the workflow waits for. Whether that makes it emit the event again, only the contract knows.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let Source::Chain(of) = &self.source else {
            return Vec::new();
        };
        let sends = self.steps.iter().filter(|step| match &step.action {
            Action::ChainSend(send) => {
                let address = send.address.literal().and_then(|it| read_address(it).ok());
                send.chain == of.name && address == Some(of.address)
            }
            _ => false,
        });
        let name = of.event.split('(').next().unwrap_or_default().trim();
        let warn = |id: &str| {
            format!(
                "step `{id}` sends to the contract whose event starts this workflow: where that makes it emit \
                 `{name}` again, the workflow causes itself, until the hub starts it no more"
            )
        };
        sends.map(|step| warn(&step.id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn warned(on: &str, to: &str, chain: &str) -> Vec<String> {
        let yaml = format!(
            "id: w\nversion: 1\non: {on}\nsteps:\n- {{ id: again, use: chain.send, with: {{ chain: {chain}, \
             address: '{to}', function: 'ping()' }} }}\n"
        );
        parse(&yaml).unwrap().warnings()
    }

    #[test]
    fn who_sends_to_what_it_waits_for_is_warned() {
        let own = format!("0x{}", "ab".repeat(20));
        let on =
            format!("{{ chain: {{ name: local, address: '{own}', event: 'Pinged(uint256 n)' }} }}");
        let warnings = warned(&on, &own, "local");
        assert_eq!(warnings.len(), 1);
        for part in ["step `again`", "`Pinged`"] {
            assert!(warnings[0].contains(part), "{warnings:?}");
        }
        let other = format!("0x{}", "cd".repeat(20));
        assert!(warned(&on, &other, "local").is_empty());
        assert!(warned(&on, &own, "elsewhere").is_empty());
        // What only the event says is not known.
        assert!(warned(&on, "{{ event.address }}", "local").is_empty());
        assert!(warned("{ payment: { reference: 'a' } }", &own, "local").is_empty());
    }
}
