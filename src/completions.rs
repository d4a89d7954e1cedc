//! `stencil completions`: what a shell needs to complete the command line.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Command, Parser, ValueEnum};
use clap_complete::Shell;

use crate::output;

/// Prints a script that lets a shell complete commands and flags.
///
/// bash: source <(stencil completions bash)
///
/// zsh: source <(stencil completions zsh)
///
/// fish: stencil completions fish | source
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The shell.
    shell: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

/// Prints it for `command`.
pub(crate) fn run(args: &Args, command: Command) -> anyhow::Result<ExitCode> {
    // Its errors are told at the end.
    let _ = output::Stdout.write_all(&script(args.shell, command));
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Kind, mut command: Command) -> Vec<u8> {
    let shell = match shell {
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "stencil", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_learns_the_commands_and_their_flags() {
        for shell in Kind::value_variants() {
            let script = script(*shell, crate::command());
            let script = String::from_utf8(script).unwrap();
            for word in ["stencil", "add-gateway", "quarantine", "token-file"] {
                assert!(script.contains(word), "{shell:?} does not know {word}");
            }
        }
    }
}
