//! The one thread that writes, fed by a bounded channel, and its transactions.
//!
//! In: closures over the [`Archive`], in order. Out: commits. Work is committed when nothing waits, when
//! ten thousand runs are in, or after half a second: no more than about a second of work is at risk.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::error::Result;
use super::open::Archive;

/// Runs in one transaction: more gain nothing, fewer cost commits.
const RUNS_PER_COMMIT: usize = 10_000;
const TIME_PER_COMMIT: Duration = Duration::from_millis(500);
/// Pages that may wait for the writer: enough to keep it busy, few enough to bound memory.
const WAITING: usize = 2;

/// What is left to do once a job's work is committed.
type Reply = Box<dyn FnOnce() + Send>;
type Job = Box<dyn FnOnce(&mut Archive) -> Result<Option<Reply>> + Send>;

/// The writer has stopped; [`Writer::finish`] tells why.
#[derive(Debug, thiserror::Error)]
#[error("the archive could not be written")]
pub(crate) struct Closed;

/// A handle to the thread that owns the archive.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<Result<Archive>>,
}

impl Writer {
    /// Hands the archive to a thread of its own.
    pub(crate) fn start(archive: Archive) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let thread =
            std::thread::Builder::new().name("writer".into()).spawn(move || run(archive, waiting))?;
        Ok(Self { jobs, thread })
    }

    /// Has something written; waits only while the channel is full.
    pub(crate) async fn write(
        &self,
        job: impl FnOnce(&mut Archive) -> Result<()> + Send + 'static,
    ) -> std::result::Result<(), Closed> {
        self.send(move |archive| job(archive).map(|()| None)).await
    }

    async fn send(
        &self,
        job: impl FnOnce(&mut Archive) -> Result<Option<Reply>> + Send + 'static,
    ) -> std::result::Result<(), Closed> {
        self.jobs.send(Box::new(job)).await.map_err(|_| Closed)
    }

    /// Has something written or read, after all that was sent before, and waits for what it gives: by
    /// then it is committed, and every reader sees it.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Archive) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(move |archive| {
            let value = job(archive)?;
            // Nobody waits any more where the asking side has gone.
            Ok(Some(Box::new(move || drop(reply.send(value))) as Reply))
        })
        .await?;
        answer.await.map_err(|_| Closed)
    }

    /// Commits all that was sent and gives the archive back, or the error that stopped the writer.
    pub(crate) fn finish(self) -> Result<Archive> {
        drop(self.jobs);
        match self.thread.join() {
            Ok(archive) => archive,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn run(mut archive: Archive, mut waiting: mpsc::Receiver<Job>) -> Result<Archive> {
    let mut began: Option<Instant> = None;
    while let Some(job) = waiting.blocking_recv() {
        if began.is_none() {
            archive.begin()?;
            began = Some(Instant::now());
        }
        let reply = match job(&mut archive) {
            Ok(reply) => reply,
            Err(error) => {
                archive.roll_back();
                return Err(error);
            }
        };
        let is_due = began.is_some_and(|began| began.elapsed() >= TIME_PER_COMMIT);
        // Several jobs share a commit, which is what costs time; but whoever waits for a reply must find on
        // disk what it says, and nothing stays uncommitted while the platform is slow.
        if reply.is_some() || waiting.is_empty() || is_due || archive.uncommitted() >= RUNS_PER_COMMIT {
            archive.commit()?;
            began = None;
        }
        if let Some(reply) = reply {
            reply();
        }
    }
    if began.is_some() {
        archive.commit()?;
    }
    Ok(archive)
}
