//! Whether a configuration would work, before it is written: what the platform says of what is chosen.
//!
//! In: a client and a choice. Out: a sentence for each thing chosen, or the error that makes it useless to
//! go on: refused credentials, a platform that cannot be reached.

use std::time::Duration;

use crate::api::wire::Named;
use crate::api::{self, Client, Credentials, Reason};
use crate::error::{CommandError, ExitCode};
use crate::render::{clean, counted, render_count};
use crate::settings::{self, Setup};
use crate::sync::{self, ListedBelow};

/// How long one question may take: somebody sits at the terminal and waits, unlike for a sync by cron.
const PATIENCE: Duration = Duration::from_secs(60);
const ATTEMPTS: usize = 3;
/// iTwins, iModels and connections that are asked for, with a request or a few each: more would tell nothing new
/// about the credentials, and would take longer than somebody waits.
const MOST_ASKED: usize = 20;

const WITHOUT_ROLE: &str = "a service application without a role on the iTwin gets an empty list, not an error: \
    give it a role there that may see iModels; the next sync then finds them";
const HIDDEN: &str = "check the id, and give the service application a role on the iTwin";

/// What was found of one thing that is chosen.
#[derive(Debug)]
pub(super) struct SetupFinding {
    pub(super) message: String,
    /// Why it may be so and what to do; `None` where all is well.
    pub(super) hint: Option<&'static str>,
    pub(super) is_unknown: bool,
    pub(super) is_seen: bool,
}

/// The credentials that were given, with a secret read from its file.
pub(super) fn credentials(given: &settings::Given) -> Result<Credentials, CommandError> {
    given.credentials().map_err(|error| {
        let is_half = matches!(error, settings::Error::NoSecret);
        let error = CommandError::from(error);
        if is_half {
            error.with_hint("or name a file that holds it with --client-secret-file")
        } else {
            error
        }
    })
}

/// The error, with where the refused credentials were found in its hint.
pub(super) fn name_source(error: CommandError, given: &settings::Given) -> CommandError {
    if error.exit() != ExitCode::Refused {
        return error;
    }
    error.with_hint(format!("nothing was written; {}", given.source()))
}

/// A client for one question. Its time budget begins anew, so that the time in which somebody ponders an answer is
/// not taken from it.
fn client(settings: &settings::Init, credentials: &Credentials) -> Result<Client, CommandError> {
    let (api_url, issuer_url) = (settings.api_url.clone(), settings.issuer_url.clone());
    let mut options = api::Options::new(api_url, issuer_url, credentials.clone());
    options.deadline = tokio::time::Instant::now().checked_add(PATIENCE);
    options.max_attempts = ATTEMPTS;
    Client::new(options).map_err(CommandError::from)
}

/// The iTwins that the credentials see, or why the platform does not list them although it answers.
pub(super) async fn list_itwins(
    settings: &settings::Init,
    credentials: &Credentials,
) -> Result<Result<Vec<Named>, api::Error>, CommandError> {
    unless_useless(sync::see_itwins(&client(settings, credentials)?).await)
}

/// What the platform says of everything that is chosen, in order.
pub(super) async fn find(
    settings: &settings::Init,
    credentials: &Credentials,
    setup: &Setup,
) -> Result<Vec<SetupFinding>, CommandError> {
    let client = &client(settings, credentials)?;
    let mut findings = Vec::new();
    for (id, name) in setup.itwins.iter().take(MOST_ASKED) {
        let called = called("iTwin", name.as_deref().unwrap_or(id));
        let sight = unless_useless(sync::see_itwin(client, id).await)?;
        findings.push(SetupFinding::new(&called, "iModel", sight, WITHOUT_ROLE));
    }
    // As a sync does: where no kind is chosen, exports alone are looked for.
    let kinds: &[api::Kind] = if setup.kinds.is_empty() { &[api::Kind::Export] } else { &setup.kinds };
    for id in setup.imodels.iter().take(MOST_ASKED) {
        for &kind in kinds {
            let sight = unless_useless(sync::see_imodel(client, kind, id).await)?;
            let noun = format!("{} connection", kind.as_str());
            findings.push(SetupFinding::new(&called("iModel", id), &noun, sight, HIDDEN));
        }
    }
    for id in setup.connections.iter().take(MOST_ASKED) {
        let sight = unless_useless(sync::see_connection(client, id).await)?;
        findings.push(match sight {
            Ok(name) => SetupFinding {
                message: format!(
                    "connection {} is {}",
                    clean(&id.to_string()),
                    clean(name.as_deref().unwrap_or("there"))
                ),
                hint: None,
                is_unknown: false,
                is_seen: true,
            },
            Err(error) => SetupFinding::hidden(&error),
        });
    }
    let unasked: usize = [setup.itwins.len(), setup.imodels.len(), setup.connections.len()]
        .map(|chosen| chosen.saturating_sub(MOST_ASKED))
        .iter()
        .sum();
    if unasked > 0 {
        let message = format!("{} more chosen, and not asked for", render_count(unasked as u64));
        findings.push(SetupFinding { message, hint: None, is_unknown: false, is_seen: false });
    }
    Ok(findings)
}

impl SetupFinding {
    fn new(called: &str, noun: &str, sight: Result<ListedBelow, api::Error>, empty: &'static str) -> Self {
        let sight = match sight {
            Ok(sight) => sight,
            Err(error) => return Self::hidden(&error),
        };
        let (message, hint) = match sight {
            ListedBelow { listed: 0, .. } => (format!("{called} lists no {noun}s"), Some(empty)),
            ListedBelow { listed, has_more } => {
                let more = if has_more { " or more" } else { "" };
                (format!("{called} lists {}{more}", counted(listed, noun)), None)
            }
        };
        Self { message, hint, is_unknown: false, is_seen: true }
    }

    fn hidden(error: &api::Error) -> Self {
        let is_unknown = error.reason == Reason::NotFound;
        Self { message: error.to_string(), hint: Some(HIDDEN), is_unknown, is_seen: false }
    }
}

fn called(noun: &str, name: &str) -> String {
    format!("{noun} {}", clean(name))
}

/// An error that is about one question stays; one that is about all of them ends the command.
fn unless_useless<T>(answer: Result<T, api::Error>) -> Result<Result<T, api::Error>, CommandError> {
    use Reason::{Forbidden, NotFound, PageTooLarge, Refused, Rejected, Unreachable, Unreadable};
    match answer {
        // Where the credentials were found is added by `name_source`.
        Err(error) if error.reason == Refused => Err(CommandError::new(ExitCode::Refused, error)),
        Err(error) if let Unreachable(obstacle) = error.reason => {
            let hint = format!("nothing was written; {}", crate::commands::hints::way_round(obstacle));
            Err(CommandError::new(ExitCode::Failed, error).with_hint(hint))
        }
        Err(error)
            if !matches!(error.reason, Forbidden | NotFound | Rejected | Unreadable | PageTooLarge)
                || error.doing == api::Doing::GetToken =>
        {
            Err(CommandError::new(ExitCode::Failed, error)
                .with_hint("nothing was written; --no-check writes the file without asking the platform"))
        }
        answer => Ok(answer),
    }
}
