//! Two weeks of hourly syncs of a living fleet, with other programs on the file and kills, and then: is anything
//! lost?
//!
//! `cargo bench --bench soak` drives 336 syncs of the real binary; a number behind `--` makes it so many. Between
//! two syncs runs begin, go on, complete, change and disappear from the listing. In every fourth sync the
//! process is killed at some instant; beside every sync the `sqlite3` shell opens and closes the file, reads it,
//! and writes a table of its own. At the end every run that was listed when a sync ended well is looked for, with
//! its last state, and SQLite checks the file. It prints what it did and ends with an error if anything is lost.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use run_archive::emulator::{Connection, Emulator, Order, Platform, history};

const CONNECTIONS: usize = 24;
/// Runs that a connection has before the first sync.
const RUNS_BEFORE: usize = 60;
const SYNCS: usize = 336;
/// Every so many syncs is killed.
const KILLED_EVERY: usize = 4;
/// The platform lists about so many runs of a connection: older ones disappear.
const LISTED: usize = 120;

/// What the platform last said of a run: its state and result.
type Said = BTreeMap<(String, String), (String, String)>;

/// The platform as it lives: what began, what goes on, what each run was last said to be.
struct World {
    random: fastrand::Rng,
    now: DateTime<Utc>,
    begun: usize,
    unfinished: Vec<(String, String, String)>,
    said: Said,
}

fn main() -> Result<(), Box<dyn Error>> {
    let syncs = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(SYNCS);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("archive.db");
    let mut world = World {
        random: fastrand::Rng::with_seed(20_261_125),
        now: "2026-11-02T00:00:00Z".parse()?,
        begun: 0,
        unfinished: Vec::new(),
        said: Said::new(),
    };
    let emulator = Emulator::start(world.platform())?;
    let began = Instant::now();
    let (mut killed, mut ended_well, mut foreign_rows) = (0, 0, 0);
    // What was listed when a sync ended with 0: from then on it must be there.
    let mut proved = Said::new();
    for number in 0..syncs {
        world.now += TimeDelta::hours(1);
        world.live(&mut emulator.platform());
        let before = world.listed(&emulator.platform());
        let is_killed = number % KILLED_EVERY == KILLED_EVERY - 1;
        let mut sync = sync(&emulator, &path).spawn()?;
        // Runs begin while the listings are walked.
        for _ in 0..world.random.usize(0..4) {
            let place = world.random.usize(0..CONNECTIONS);
            world.begin(&mut emulator.platform(), place);
        }
        if is_killed {
            // An instant of the first 60 ms: opening, the first commits, the checkpoint.
            std::thread::sleep(Duration::from_micros(world.random.u64(0..60_000)));
            sync.kill()?;
            sync.wait()?;
            killed += 1;
        }
        if path.exists() {
            foreign_rows += beside(&path, number)?;
        }
        if !is_killed {
            match sync.wait()?.code() {
                // What was listed all the while is archived from now on.
                Some(0) => {
                    proved.extend(before);
                    ended_well += 1;
                }
                // It says itself that it is not proved.
                Some(3) => {}
                code => return Err(format!("sync {number} ended with {code:?}").into()),
            }
        }
    }
    let ended = sync(&emulator, &path).arg("--full").status()?;
    if !ended.success() {
        return Err(format!("the last sync, of everything, ended with {ended}").into());
    }
    proved.extend(world.listed(&emulator.platform()));
    check(&path, &proved, &world.said, foreign_rows)?;
    let size = std::fs::metadata(&path)?.len();
    say(&format!(
        "{syncs} syncs of {CONNECTIONS} connections: {ended_well} ended well, {killed} were killed; {} runs were listed, \
         none is lost; {foreign_rows} rows of another program beside them; the file has {:.1} MB, {:.1} s",
        proved.len(),
        size as f64 / 1e6,
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

impl World {
    fn platform(&mut self) -> Platform {
        let mut platform = Platform::default();
        for place in 0..CONNECTIONS {
            let mut connection = Connection::new(&format!("Model {place}"), [].into_iter().collect());
            connection.order = [Order::NewestFirst, Order::OldestFirst, Order::Shuffled][place % 3];
            platform.connections.insert(id_of(place), connection);
        }
        for _ in 0..RUNS_BEFORE * CONNECTIONS {
            self.now += TimeDelta::seconds(30);
            let place = self.random.usize(0..CONNECTIONS);
            self.begin(&mut platform, place);
        }
        platform
    }

    /// An hour of the fleet: some runs begin, most unfinished ones complete, a few change, the oldest disappear.
    fn live(&mut self, platform: &mut Platform) {
        for _ in 0..self.random.usize(0..12) {
            let place = self.random.usize(0..CONNECTIONS);
            self.begin(platform, place);
        }
        let (done, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unfinished).into_iter().partition(|_| self.random.u8(0..10) < 8);
        self.unfinished = still;
        for (connection, id, started) in done {
            let result = ["Success", "Success", "Error", "PartialSuccess"][self.random.usize(0..4)];
            self.say(platform, &connection, &id, &started, "Completed", result);
        }
        for connection in platform.connections.values_mut() {
            while connection.listing.len() > LISTED {
                connection.listing.remove(0);
            }
        }
    }

    fn begin(&mut self, platform: &mut Platform, place: usize) {
        self.begun += 1;
        let (connection, id) = (id_of(place), format!("run-{:06}", self.begun));
        let started = history::stamp(self.now + TimeDelta::milliseconds(self.begun as i64));
        let is_finished = self.random.bool();
        let (state, result) =
            if is_finished { ("Completed", "Success") } else { ("Executing", "Undetermined") };
        if !is_finished {
            self.unfinished.push((connection.clone(), id.clone(), started.clone()));
        }
        self.said.insert((connection.clone(), id.clone()), (state.to_owned(), result.to_owned()));
        let run = history::simple_run(&id, &started, state, result);
        if let Some(connection) = platform.connections.get_mut(&connection) {
            connection.listing.push_newest(run);
        }
    }

    fn say(
        &mut self,
        platform: &mut Platform,
        connection: &str,
        id: &str,
        started: &str,
        state: &str,
        result: &str,
    ) {
        let run = history::simple_run(id, started, state, result);
        // One that has disappeared says nothing any more.
        if platform.connections.get_mut(connection).is_some_and(|connection| connection.listing.replace(run))
        {
            self.said.insert((connection.to_owned(), id.to_owned()), (state.to_owned(), result.to_owned()));
        }
    }

    /// Every run that is listed now, as it is.
    fn listed(&self, platform: &Platform) -> Said {
        let mut listed = Said::new();
        for (id, connection) in &platform.connections {
            for run in connection.listing.iter() {
                let key = (id.clone(), run.id.clone());
                if let Some(said) = self.said.get(&key) {
                    listed.insert(key, said.clone());
                }
            }
        }
        listed
    }
}

fn id_of(place: usize) -> String {
    format!("connection-{place:02}")
}

fn sync(emulator: &Emulator, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive"));
    command.env_clear().env("ITP_ACCESS_TOKEN", "emulated-token").env("HOME", path.parent().unwrap_or(path));
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.arg("-q").arg("--db").arg(path).args(["sync", "--request-limit", "none"]);
    for place in 0..CONNECTIONS {
        command.args(["--connection", &id_of(place)]);
    }
    command.stdin(Stdio::null());
    command
}

/// What other programs do meanwhile: the shell of SQLite reads, and writes a table of its own; gives how many
/// rows that wrote.
fn beside(path: &Path, number: usize) -> Result<usize, Box<dyn Error>> {
    let shell = |sql: &str| -> std::io::Result<Child> {
        Command::new("sqlite3")
            .args(["-cmd", ".timeout 20000"])
            .arg(path)
            .arg(sql)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(shell("SELECT count(*), max(started_at) FROM runs")?);
    }
    let write =
        format!("CREATE TABLE IF NOT EXISTS my_notes (note TEXT); INSERT INTO my_notes VALUES ('{number}')");
    let wrote = shell(&write)?.wait()?.success();
    for mut reader in readers {
        reader.wait()?;
    }
    Ok(usize::from(wrote))
}

/// Whether all of it is there, as it was last said, in a sound file.
fn check(path: &Path, proved: &Said, last: &Said, foreign_rows: usize) -> Result<(), Box<dyn Error>> {
    let database = rusqlite::Connection::open(path)?;
    let integrity: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if integrity != "ok" {
        return Err(format!("integrity_check: {integrity}").into());
    }
    let sql =
        "SELECT connections.id, runs.id, state, result FROM runs JOIN connections USING (connection_key)";
    let mut statement = database.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut archived = Said::new();
    while let Some(row) = rows.next()? {
        archived.insert((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?));
    }
    for (key, said) in proved {
        match archived.get(key) {
            None => return Err(format!("{key:?} is lost").into()),
            // A killed sync may have stored what the platform said after that.
            Some(archived) if archived != said && last.get(key) != Some(archived) => {
                return Err(
                    format!("{key:?} is archived as {archived:?} and was last listed as {said:?}").into()
                );
            }
            Some(_) => {}
        }
    }
    let notes: i64 = database.query_row("SELECT count(*) FROM my_notes", [], |row| row.get(0))?;
    if usize::try_from(notes)? != foreign_rows {
        return Err(format!("{foreign_rows} notes were written, and {notes} are there").into());
    }
    let verified = Command::new(env!("CARGO_BIN_EXE_archive"))
        .arg("--db")
        .arg(path)
        .args(["verify", "--offline"])
        .output()?;
    if !verified.status.success() {
        return Err(format!("verify: {}", String::from_utf8_lossy(&verified.stdout)).into());
    }
    Ok(())
}

fn say(line: &str) {
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}
