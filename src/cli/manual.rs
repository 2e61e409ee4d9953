//! What the command line says of itself to programs: completions of shells, and manual pages.
//!
//! In: clap's definitions and the help texts. Out: a script, or roff. What the definitions cannot tell (the
//! environment, files, exit codes) stands here as text.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::Cli;

const ENVIRONMENT: &[(&str, &str)] = &[
    ("ARCHIVE_DB", "The archive, as --db names it."),
    ("ARCHIVE_CONFIG", "The configuration file, as --config names it."),
    ("ITP_ACCESS_TOKEN", "A ready bearer token, for trying; it goes over a service application."),
    ("ITP_SERVICE_CLIENT_ID", "The client id of a service application (client credentials grant)."),
    ("ITP_SERVICE_CLIENT_SECRET", "Its secret. The configuration may name a file that holds it instead."),
    ("ITP_ITWIN_ID", "The iTwin to archive, as --itwin names it."),
    ("ITP_IMODEL_ID", "The iModel to archive, as --imodel names it."),
    ("ITP_API_URL", "The platform; https://api.bentley.com unless set."),
    ("ITP_ISSUER_URL", "The token issuer; https://ims.bentley.com unless set."),
    ("NO_COLOR", "Where it is set, messages are not colored."),
];

const FILES: &[(&str, &str)] = &[
    (
        "~/.config/archive/archive.toml",
        "The configuration, unless --config or ARCHIVE_CONFIG names another. archive init writes one with \
         a comment on every setting. A flag goes over the environment, the environment over the file, the \
         file over the default.",
    ),
    (
        "~/.local/share/archive/archive.db",
        "The archive, one SQLite file, unless --db, ARCHIVE_DB or the configuration names another.",
    ),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "Failed; nothing that was stored before is lost."),
    ("2", "Wrong usage or configuration."),
    (
        "3",
        "Done in part: a connection failed, the time ran out, a walk could not be proved complete, or \
         records were set aside; the rest is stored.",
    ),
    ("4", "The platform refused the credentials."),
    ("5", "Another archive process holds this database, or (archive restore) a program has it open."),
    ("6", "A report found a failure rate above --fail-over."),
];

/// The completions of a shell.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "archive", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page of a command in roff, or of the program where there is no such command.
pub(crate) fn man(command: Option<&str>) -> String {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let chosen = command.and_then(|name| program.find_subcommand(name)).cloned();
    let page = match chosen {
        // The options that all commands understand stand in the page of the program.
        Some(command) => page(command.mut_args(|arg| {
            let is_global = arg.is_global_set();
            arg.hide(is_global)
        })),
        None => page(program),
    };
    // Writing into a vector cannot fail. Older roff programs do not read UTF-8, so characters beyond ASCII are
    // written as escapes.
    page.unwrap_or_default().chars().fold(String::new(), |mut page, c| {
        if c.is_ascii() {
            page.push(c)
        } else {
            page.push_str(&format!("\\[u{:04X}]", u32::from(c)))
        }
        page
    })
}

fn page(command: Command) -> io::Result<String> {
    // What is looked at is taken first: `Man` keeps the command for itself.
    let is_program = command.has_subcommands();
    let after_help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let version = format!("archive {}", env!("CARGO_PKG_VERSION"));
    let commands: Vec<(String, String)> = command
        .get_subcommands()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (format!("archive-{}", command.get_name()), about)
        })
        .collect();
    let man = Man::new(command).source(version).manual("archive");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if is_program {
        let mut list = Roff::new();
        list.control("SH", ["COMMANDS"]);
        for (name, about) in &commands {
            list.control("TP", []);
            list.text([bold(name), roman("(1)")]);
            list.text([roman(about)]);
        }
        list.to_writer(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    let mut more = Roff::new();
    if is_program {
        listed(&mut more, "ENVIRONMENT", ENVIRONMENT);
        listed(&mut more, "FILES", FILES);
        listed(&mut more, "EXIT STATUS", EXIT_STATUS);
        prose(&mut more, &after_help);
    } else {
        prose(&mut more, &after_help);
        more.control("SH", ["SEE ALSO"]);
        more.text([
            bold("archive"),
            roman("(1), for the options that all commands understand, the environment and files"),
        ]);
    }
    more.to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn listed(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([italic(*name)]);
        roff.text([roman(*text)]);
    }
}

/// A help's last part: `Examples:` and `Exit codes:` become sections, and what is indented keeps its lines.
fn prose(roff: &mut Roff, text: &str) {
    let mut is_headed = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        match line {
            "" => {}
            "Examples:" => roff_section(roff, "EXAMPLES", &mut is_headed),
            "Exit codes:" => roff_section(roff, "EXIT STATUS", &mut is_headed),
            // An example is a command line: filled into a paragraph it could no longer be copied.
            _ if line.starts_with("  ") => {
                roff.control("PP", []);
                roff.control("nf", []);
                roff.text([roman(line.trim_start())]);
                while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                    roff.text([roman(&line[2..])]);
                }
                roff.control("fi", []);
            }
            _ => {
                if is_headed {
                    roff.control("PP", []);
                } else {
                    roff_section(roff, "NOTES", &mut is_headed)
                }
                roff.text([roman(line)]);
                while let Some(line) = lines.next_if(|line| !line.is_empty() && !line.starts_with("  ")) {
                    roff.text([roman(line)]);
                }
            }
        }
    }
}

fn roff_section(roff: &mut Roff, title: &str, is_headed: &mut bool) {
    roff.control("SH", [title]);
    *is_headed = true;
}

#[cfg(test)]
mod tests {
    use super::super::COMMANDS;
    use super::*;

    #[test]
    fn every_command_has_a_page_and_stands_in_the_programs() {
        let program = Cli::command();
        let commands: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
        assert_eq!(commands, COMMANDS);
        assert!(man(Some("import")).contains("curl \\[u2026] | archive import"));
        let whole = man(None);
        for command in COMMANDS {
            assert!(whole.contains(&format!("\\fBarchive\\-{command}\\fR(1)")), "{command} in {whole}");
            let page = man(Some(command));
            assert!(page.contains(&format!(".TH archive-{command} 1")), "{page}");
            assert!(page.contains(".SH EXAMPLES"), "{page}");
            assert!(!page.contains("\\-\\-log\\-format"), "{page}");
        }
        for title in ["COMMANDS", "ENVIRONMENT", "FILES", "\"EXIT STATUS\"", "\"GLOBAL OPTIONS\""] {
            assert!(whole.contains(&format!(".SH {title}\n")), "{title} in {whole}");
        }
    }
}
