//! The questions of `archive init`.
//!
//! In: lines of whoever sits at the terminal. Out: answers, each checked as far as it can be without the
//! platform. What was typed for a secret is never written back.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use crate::api::wire::Named;
use crate::error::{CommandError, ExitCode};
use crate::render::{clean, render_count};
use crate::settings::{self, Given};
use crate::time::zone::Zone;

/// iTwins that are shown.
const MOST_SHOWN: usize = 20;

/// A person at a terminal.
pub(super) struct Dialogue<'a> {
    pub(super) input: &'a mut dyn BufRead,
    pub(super) output: &'a mut dyn Write,
    /// Shows a question and reads a line that is not shown while it is typed, where that is possible.
    pub(super) unseen: Option<&'a mut Unseen<'a>>,
}

/// From a question to the line that was typed.
pub(super) type Unseen<'a> = dyn FnMut(&str) -> io::Result<String> + 'a;

type Answer<T> = Result<T, CommandError>;

impl Dialogue<'_> {
    pub(super) fn say(&mut self, line: &str) -> Answer<()> {
        writeln!(self.output, "{line}").map_err(failed)
    }

    /// One line, without blanks around it; nothing where only Enter was pressed.
    fn line(&mut self, question: &str, default: Option<&str>) -> Answer<String> {
        let default = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        write!(self.output, "{question}{default}: ").and_then(|()| self.output.flush()).map_err(failed)?;
        let mut line = String::new();
        if self.input.read_line(&mut line).map_err(failed)? == 0 {
            writeln!(self.output).map_err(failed)?;
            return Err(ended());
        }
        Ok(line.trim().to_owned())
    }

    /// An answer; the default for none, and the question again where there is no default.
    fn ask(&mut self, question: &str, default: Option<&str>) -> Answer<String> {
        loop {
            let line = self.line(question, default)?;
            match (line.is_empty(), default) {
                (false, _) => return Ok(line),
                (true, Some(default)) => return Ok(default.to_owned()),
                (true, None) => {}
            }
        }
    }

    /// Asks for what is missing of a service application. `place` is where a secret is kept that is typed;
    /// true where one was.
    pub(super) fn ask_credentials(
        &mut self,
        settings: &settings::Init,
        given: &mut Given,
        place: &Path,
    ) -> Answer<bool> {
        if given.client_id.is_none() {
            given.client_id = Some(self.ask("Client id of the service application", None)?);
        }
        if given.secret.is_some() || given.secret_file.is_some() {
            return Ok(false);
        }
        let found =
            (!settings.force && place.symlink_metadata().is_ok()).then(|| place.display().to_string());
        loop {
            let question = match self.unseen {
                Some(_) if found.is_none() => "File that holds its secret (or Enter, to type it unseen)",
                _ => "File that holds its secret",
            };
            let line = self.line(question, found.as_deref())?;
            if let (true, None, Some(unseen)) = (line.is_empty(), &found, &mut self.unseen) {
                let secret = unseen("The secret (it is not shown): ").map_err(failed)?.trim().to_owned();
                // Ctrl-D ends the input and counts as an empty line.
                if secret.is_empty() {
                    return Err(ended());
                }
                given.secret = Some(secret.into());
                return Ok(true);
            }
            let path = if line.is_empty() { place.to_owned() } else { settings.path(&line)? };
            if line.is_empty() && found.is_none() {
                continue;
            }
            if path.is_file() {
                given.secret_file = Some(path);
                return Ok(false);
            }
            self.say("There is no file of this name. What is asked for is a file's name, not the secret.")?;
        }
    }

    pub(super) fn show_itwins(&mut self, listed: &[Named]) -> Answer<()> {
        if listed.is_empty() {
            return self.say(
                "They see no iTwin. A service application sees those that it has a role on: give it one, or \
                 go on with an id.",
            );
        }
        let noun = if listed.len() == 1 { "iTwin" } else { "iTwins" };
        self.say(&format!("They see {} {noun}:", render_count(listed.len() as u64)))?;
        for (index, itwin) in listed.iter().take(MOST_SHOWN).enumerate() {
            let name = clean(itwin.name.as_deref().unwrap_or("(no name)"));
            self.say(&format!("  {:>2}  {name}  {}", index + 1, clean(&itwin.id)))?;
        }
        match listed.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => self.say(&format!("      and {} more", render_count(more as u64))),
        }
    }

    /// Asks which iTwins to archive: ids, and names where they are known. `listed` is what was shown.
    pub(super) fn ask_itwins(&mut self, listed: &[Named]) -> Answer<Vec<(String, Option<String>)>> {
        let shown = &listed[..listed.len().min(MOST_SHOWN)];
        if listed.is_empty() {
            let ids = self.ask("Ids of the iTwins to archive, separated by commas", None)?;
            return Ok(parts(&ids).map(|id| (id.to_owned(), None)).collect());
        }
        // With more than one a mere Enter would archive an iTwin that nobody chose.
        let default = (listed.len() == 1).then_some("1");
        loop {
            let line = self.ask("Which to archive? Numbers separated by commas, all, or ids", default)?;
            if line.eq_ignore_ascii_case("all") {
                return Ok(listed.iter().map(named).collect());
            }
            match parts(&line).map(|part| choose(part, listed, shown)).collect::<Result<Vec<_>, _>>() {
                Ok(chosen) => {
                    let mut unique: Vec<(String, Option<String>)> = Vec::new();
                    for itwin in chosen {
                        // The same iTwin may be chosen by its number and by its id.
                        if !unique.contains(&itwin) {
                            unique.push(itwin);
                        }
                    }
                    if !unique.is_empty() {
                        return Ok(unique);
                    }
                }
                Err(problem) => self.say(&problem)?,
            }
        }
    }

    /// Asks where the archive goes; `None` for its default place.
    pub(super) fn ask_db(&mut self, settings: &settings::Init) -> Answer<Option<PathBuf>> {
        let default = settings.default_db.as_deref();
        let shown = default.map(|path| path.display().to_string());
        loop {
            let line = self.line("File of the archive", shown.as_deref())?;
            if line.is_empty() {
                match default {
                    Some(_) => return Ok(None),
                    None => continue,
                }
            }
            let path = settings.path(&line)?;
            if path.is_dir() || line.ends_with('/') {
                self.say("That is a folder; give the name of a file in it, such as archive.db.")?;
            } else {
                return Ok(Some(path).filter(|path| Some(path.as_path()) != default));
            }
        }
    }

    /// Asks for the time zone; `None` for UTC.
    pub(super) fn ask_zone(&mut self) -> Answer<Option<Zone>> {
        loop {
            match self.ask("Time zone of reports, such as Europe/Berlin", Some("UTC"))?.parse() {
                Ok(zone) => return Ok(Some(zone).filter(|zone| *zone != Zone::UTC)),
                Err(problem) => self.say(&clean(&problem))?,
            }
        }
    }
}

fn parts(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty())
}

fn named(itwin: &Named) -> (String, Option<String>) {
    (itwin.id.clone(), itwin.name.clone())
}

/// A number of those shown, or an id.
fn choose(part: &str, listed: &[Named], shown: &[Named]) -> Result<(String, Option<String>), String> {
    if let Some(itwin) = listed.iter().find(|itwin| itwin.id == part) {
        return Ok(named(itwin));
    }
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((part.to_owned(), None));
    }
    let index = part.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let itwin = index.and_then(|index| shown.get(index));
    itwin.map(named).ok_or_else(|| format!("There is no number {part}."))
}

fn failed(error: io::Error) -> CommandError {
    anyhow::Error::new(error).context("asking on the terminal").into()
}

fn ended() -> CommandError {
    let error = anyhow::anyhow!("the input ended before every question was answered; nothing was written");
    CommandError::new(ExitCode::Failed, error)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::cli::{self, Command};
    use crate::settings::{Environment, Folders};
    use crate::time::UtcText;

    /// What was asked of somebody who types these lines, and what came of it.
    fn hold<T>(
        lines: &str,
        hidden: &str,
        ask: impl FnOnce(&mut Dialogue<'_>) -> Answer<T>,
    ) -> (Answer<T>, String) {
        let mut output = Vec::new();
        let mut unseen = |_: &str| Ok(hidden.to_owned());
        let mut input = lines.as_bytes();
        let result = ask(&mut Dialogue { input: &mut input, output: &mut output, unseen: Some(&mut unseen) });
        (result, String::from_utf8(output).unwrap())
    }

    fn settings(home: &Path) -> settings::Init {
        let cli = cli::parse(["archive", "init"].map(Into::into)).unwrap();
        let Command::Init(typed) = cli.command else { panic!("init") };
        let folders =
            Folders { home: home.to_owned(), configuration: home.join("config"), data: home.join("data") };
        let now = UtcText::parse_sent("2026-11-24T12:00:00Z").unwrap();
        let environment = Environment { variable: Box::new(|_| None), folders: Some(folders), now };
        settings::Init::new(&cli.global, &typed, &environment).unwrap()
    }

    fn itwins(count: usize) -> Vec<Named> {
        let itwin = |number| Named {
            id: format!("id-{number}"),
            name: Some(format!("Name {number}")),
            json: String::new(),
        };
        (1..=count).map(itwin).collect()
    }

    #[test]
    fn itwins_are_chosen_by_number_by_id_or_all() {
        let listed = itwins(23);
        let choose = |lines: &str| {
            let (chosen, told) = hold(lines, "", |person| {
                person.show_itwins(&listed)?;
                person.ask_itwins(&listed)
            });
            let ids = chosen.map(|chosen| chosen.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
            (ids.unwrap_or_default(), told)
        };
        assert_eq!(choose("1, 3 3\n").0, ["id-1", "id-3"]);
        assert_eq!(choose("id-22,-other\n").0, ["id-22", "-other"]);
        assert_eq!(choose("ALL\n").0.len(), 23);
        let (ids, told) = choose("0\n21\n\n,\n2\n");
        assert_eq!(ids, ["id-2"]);
        for text in
            ["They see 23 iTwins:", "  20  Name 20  id-20\n", "and 3 more", "no number 0", "no number 21"]
        {
            assert!(told.contains(text), "{text} in {told}");
        }
        assert!(!told.contains("Name 21"), "{told}");
    }

    #[test]
    fn one_itwin_is_the_default_and_without_a_list_ids_are_asked_for() {
        let one = itwins(1);
        let (chosen, _) = hold("\n", "", |person| person.ask_itwins(&one));
        assert_eq!(chosen.unwrap(), [("id-1".to_owned(), Some("Name 1".to_owned()))]);
        let (chosen, told) = hold("\na, b\n", "", |person| {
            person.show_itwins(&[])?;
            person.ask_itwins(&[])
        });
        assert_eq!(chosen.unwrap(), [("a".to_owned(), None), ("b".to_owned(), None)]);
        assert!(told.contains("They see no iTwin."), "{told}");
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        let evil =
            [Named { id: "a\u{7}".to_owned(), name: Some("\u{1b}[2Jx\ny".to_owned()), json: String::new() }];
        let (_, told) = hold("1\n", "", |person| person.show_itwins(&evil));
        assert!(told.contains("   1  [2Jx y  a\n"), "{told:?}");
    }

    #[test]
    fn a_secret_is_taken_from_a_file_or_unseen_and_is_never_repeated() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("secret"), "hush").unwrap();
        let settings = settings(home.path());
        let place = home.path().join("client-secret");
        let mut given = Given::default();
        let lines = "\nservice-1\ncanary\n~/secret\n";
        let (typed, told) = hold(lines, "", |person| person.ask_credentials(&settings, &mut given, &place));
        assert!(!typed.unwrap() && !told.contains("canary"), "{told}");
        assert_eq!(given.client_id.as_deref(), Some("service-1"));
        assert_eq!(given.secret_file.unwrap(), home.path().join("secret"));

        let mut given = Given::default();
        let ask = |person: &mut Dialogue<'_>| person.ask_credentials(&settings, &mut given, &place);
        let (typed, told) = hold("service-1\n\n", " canary\n", ask);
        assert!(typed.unwrap() && !told.contains("canary"), "{told}");
        assert_eq!(given.secret.unwrap().expose_secret(), "canary");

        std::fs::write(&place, "hush").unwrap();
        let mut given = Given { client_id: Some("service-1".to_owned()), ..Given::default() };
        let (_, told) = hold("\n", "", |person| person.ask_credentials(&settings, &mut given, &place));
        assert_eq!(given.secret_file.as_ref(), Some(&place), "{told}");
    }

    #[test]
    fn the_archive_and_the_zone_have_defaults_and_wrong_answers_are_asked_again() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(home.path());
        let (db, told) = hold("\n", "", |person| person.ask_db(&settings));
        assert_eq!(db.unwrap(), None);
        assert!(told.contains("data/archive/archive.db]: "), "{told}");
        let (db, _) = hold("~/\nx/\n~/a.db\n", "", |person| person.ask_db(&settings));
        assert_eq!(db.unwrap().unwrap(), home.path().join("a.db"));
        let (zone, told) = hold("Mars\neurope/berlin\n", "", |person| person.ask_zone());
        assert_eq!(zone.unwrap().unwrap().name(), "Europe/Berlin");
        assert!(told.contains("'Mars' is no time zone"), "{told}");
        assert_eq!(hold("\n", "", |person| person.ask_zone()).0.unwrap(), None);
    }

    #[test]
    fn the_end_of_the_input_ends_every_question() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(home.path());
        let place = home.path().join("client-secret");
        let listed = itwins(2);
        let credentials = |lines: &str| {
            hold(lines, "", |person| person.ask_credentials(&settings, &mut Given::default(), &place))
                .0
                .unwrap_err()
        };
        let errors = [
            credentials(""),
            credentials("service-1\n"),
            credentials("service-1\n\n"),
            hold("", "", |person| person.ask_itwins(&listed)).0.unwrap_err(),
            hold("9\n", "", |person| person.ask_itwins(&listed)).0.unwrap_err(),
            hold("", "", |person| person.ask_db(&settings)).0.unwrap_err(),
            hold("Mars", "", |person| person.ask_zone()).0.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.exit(), ExitCode::Failed);
            assert!(error.to_string().contains("nothing was written"), "{error}");
        }
    }
}
