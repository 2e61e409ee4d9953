//! What a sync did, for people, programs and the exit code. The names that its fields have in JSON are a contract.

use serde::{Serialize, Serializer};

use super::problem::Problem;
use crate::api::{Client, ConnectionId, Reason};
use crate::error::ExitCode;
use crate::store::records::Counts;
use crate::time::UtcText;

/// How a sync, or one connection's part of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything is stored.
    Done,
    /// Something is stored and something is not.
    Partial,
    /// Nothing new could be stored.
    Failed,
}

impl Outcome {
    /// The word for tables, JSON and people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// What was found below iTwins and iModels.
#[derive(Debug, Default, Serialize)]
pub struct Discovered {
    pub itwins: u64,
    pub imodels: u64,
    /// iModels that were to be asked and were not.
    #[serde(rename = "imodels_not_asked")]
    pub unasked: u64,
    pub connections: u64,
    /// Of these, those that were never met before.
    pub new_connections: u64,
    pub problems: Vec<Problem>,
    /// Whether nothing was found, and nothing said why.
    #[serde(skip)]
    pub is_nothing: bool,
}

/// One connection's part.
#[derive(Debug, Serialize)]
pub struct ConnectionSummary {
    /// The platform's id.
    #[serde(skip)]
    pub id: ConnectionId,
    /// What it is called, where that is known.
    pub name: Option<String>,
    /// Whether nothing was asked about it, because nothing had begun.
    #[serde(rename = "quiet")]
    pub is_quiet: bool,
    /// What became of the records.
    #[serde(flatten)]
    pub counts: Counts,
    /// Pages received.
    pub pages: u64,
    /// Runs that the platform no longer lists, noticed now.
    pub unlisted: u64,
    /// Times in which runs may have come and gone unseen, noticed now.
    #[serde(serialize_with = "write_gaps")]
    pub gaps: Vec<(UtcText, UtcText)>,
    /// What went wrong.
    pub problems: Vec<Problem>,
}

impl ConnectionSummary {
    pub(super) fn new(id: &ConnectionId) -> Self {
        Self {
            id: id.clone(),
            name: None,
            is_quiet: false,
            counts: Counts::default(),
            pages: 0,
            unlisted: 0,
            gaps: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// It goes on where its last turn in this sync ended.
    pub(super) fn begin_turn(&mut self) {
        self.problems.retain(|problem| problem.reason() != Some(Reason::ShareSpent));
    }

    pub(super) fn has_given_way(&self) -> bool {
        self.problems.iter().any(|problem| problem.reason() == Some(Reason::ShareSpent))
    }

    /// What it is called, or its id.
    pub(crate) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let counts = self.counts;
        let came = self.pages + counts.new + counts.changed + counts.unchanged;
        match (self.problems.is_empty() && counts.rejected == 0, came) {
            (true, _) => Outcome::Done,
            (false, 0) => Outcome::Failed,
            (false, _) => Outcome::Partial,
        }
    }
}

fn write_gaps<S: Serializer>(gaps: &[(UtcText, UtcText)], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Gap<'a> {
        after: &'a UtcText,
        until: &'a UtcText,
    }
    serializer.collect_seq(gaps.iter().map(|(after, until)| Gap { after, until }))
}

/// What a sync did.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// When it began.
    pub started_at: UtcText,
    /// How long it took.
    pub duration_ms: i64,
    /// Requests sent, retries and token requests included.
    pub requests: u64,
    /// Pages received.
    pub pages: u64,
    /// What became of the records.
    #[serde(flatten)]
    pub counts: Counts,
    /// How it ended.
    pub outcome: Outcome,
    /// What the process ends with.
    pub exit_code: ExitCode,
    /// What was found below iTwins and iModels.
    pub found: Discovered,
    /// One for each connection: those that were named, in the order given, then those that were found.
    #[serde(skip)]
    pub connections: Vec<ConnectionSummary>,
}

impl Summary {
    pub(super) fn new(
        started_at: UtcText,
        ended_at: UtcText,
        client: &Client,
        found: Discovered,
        connections: Vec<ConnectionSummary>,
    ) -> Self {
        let mut counts = Counts::default();
        for connection in &connections {
            counts.add(connection.counts);
        }
        let outcome = outcome_of_all(&found, &connections);
        Self {
            started_at,
            duration_ms: started_at.milliseconds_until(&ended_at).unwrap_or(0),
            requests: client.requests(),
            pages: connections.iter().map(|connection| connection.pages).sum(),
            counts,
            outcome,
            exit_code: exit_code(outcome, &found, &connections, client),
            found,
            connections,
        }
    }

    /// Everything that went wrong: while looking for connections, then connection by connection.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.found.problems.iter().chain(self.connections.iter().flat_map(|connection| &connection.problems))
    }

    /// Connections that nothing was asked about, because nothing had begun.
    pub(crate) fn quiet(&self) -> u64 {
        self.connections.iter().filter(|connection| connection.is_quiet).count() as u64
    }

    /// Runs that the platform no longer lists, noticed now.
    pub(crate) fn unlisted(&self) -> u64 {
        self.connections.iter().map(|connection| connection.unlisted).sum()
    }
}

fn outcome_of_all(found: &Discovered, connections: &[ConnectionSummary]) -> Outcome {
    let all = |outcome| connections.iter().all(|connection| connection.outcome() == outcome);
    if found.problems.is_empty() && all(Outcome::Done) {
        return Outcome::Done;
    }
    // Lists that were answered and empty are not a failure to ask; connections of which none gave anything are,
    // however well they are listed.
    let was_answered = found.is_nothing || found.imodels > 0;
    if connections.is_empty() && was_answered || !all(Outcome::Failed) {
        return Outcome::Partial;
    }
    Outcome::Failed
}

/// Chosen by the worst that is true of the whole. Running out of time, and being asked to stop, is done in
/// part whatever was stored: what is there is whole, and the next sync goes on.
fn exit_code(
    outcome: Outcome,
    found: &Discovered,
    connections: &[ConnectionSummary],
    client: &Client,
) -> ExitCode {
    let problems = connections.iter().flat_map(|connection| &connection.problems);
    let mut reasons = found.problems.iter().chain(problems).map(Problem::reason);
    match outcome {
        Outcome::Done => ExitCode::Done,
        Outcome::Partial => ExitCode::Partial,
        Outcome::Failed
            if !client.was_accepted() && reasons.clone().any(|reason| reason == Some(Reason::Refused)) =>
        {
            ExitCode::Refused
        }
        Outcome::Failed
            if reasons.any(|reason| match reason {
                Some(Reason::Stopped) => true,
                // A host that answers nothing is down, however long was waited for it.
                Some(Reason::BudgetSpent { .. } | Reason::ShareSpent | Reason::PauseTooLong { .. }) => {
                    client.was_answered()
                }
                _ => false,
            }) =>
        {
            ExitCode::Partial
        }
        Outcome::Failed => ExitCode::Failed,
    }
}
