//! The texts of `--help` that stand below the options, and the headings that the options stand under.

pub(super) const CONNECTION: &str = "Connection options";
pub(super) const PERIOD: &str = "Period";
pub(super) const ALARM: &str = "Alarm";
pub(super) const SPEED: &str = "Speed";
pub(super) const OUTPUT: &str = "Output";
pub(super) const PARAMETERS: &str = "Parameters";
pub(super) const CREDENTIALS: &str = "Credentials";
pub(super) const FILE: &str = "File";
pub(super) const GLOBAL: &str = "Global options";

pub(super) const AFTER_HELP: &str = "\
Examples:
  archive demo                    see what it does; nothing to configure
  archive init                    set it up: credentials, iTwins, a configuration
  archive sync --itwin ID         fetch what is new into the archive
  archive status                  how fresh is the archive?
  archive report                  how did the last seven days go?

Without --db and ARCHIVE_DB the archive is archive/archive.db in your data folder
(~/.local/share on Linux).";

pub(super) const INIT_AFTER_HELP: &str = "\
No secret is typed as a flag or stands in the configuration. Credentials come from
the environment (ITP_ACCESS_TOKEN, or ITP_SERVICE_CLIENT_ID and
ITP_SERVICE_CLIENT_SECRET) or from files that flags and the configuration name.
ITP_API_URL and ITP_ISSUER_URL are obeyed.

Examples:
  archive init                    on a terminal: asks for what is missing
  archive init --itwin ID --client-id service-abc --client-secret-file secret
  archive init --config /etc/archive/archive.toml --db /var/lib/archive/archive.db
  archive init --itwin ID --no-check --force

Exit codes:
  0  done
  1  failed: the platform cannot be reached, or no answer was given; nothing is
     written
  2  wrong usage or configuration, or the file exists
  3  written, but something that is chosen lists nothing or cannot be seen
  4  the platform refused the credentials; nothing is written";

pub(super) const COMPLETIONS_AFTER_HELP: &str = "\
Examples:
  archive completions bash > ~/.local/share/bash-completion/completions/archive
  archive completions zsh > ~/.zfunc/_archive      (with ~/.zfunc in fpath)
  archive completions fish > ~/.config/fish/completions/archive.fish";

pub(super) const MAN_AFTER_HELP: &str = "\
Examples:
  archive man | man -l -
  archive man sync | man -l -
  archive man > ~/.local/share/man/man1/archive.1";

pub(super) const SYNC_AFTER_HELP: &str = "\
Credentials come from the environment, or from files that the configuration names:
  ITP_ACCESS_TOKEN             a ready bearer token, or both of
  ITP_SERVICE_CLIENT_ID        a service application's id and
  ITP_SERVICE_CLIENT_SECRET    its secret

Examples:
  archive sync --itwin 5e4b8a92-30cd-4f6e-9d0c-1f2a3b4c5d6e --estimate
  archive sync --connection 3fa85f64-5717-4562-b3fc-2c963f66afa6
  archive sync --config /etc/archive.toml --format json
In a crontab, mail only when something is wrong:
  15 * * * *  archive -q sync --config /etc/archive.toml

Exit codes:
  0  done
  1  failed; nothing that was stored before is lost
  2  wrong usage or configuration
  3  done in part: a connection failed, the time ran out, a walk could not be
     proved complete or records were set aside; the rest is stored
  4  the platform refused the credentials
  5  another 'archive sync' holds this database";

pub(super) const IMPORT_AFTER_HELP: &str = "\
Examples:
  archive import page-1.json page-2.json
  curl … | archive import --connection ID -

Pages are what the platform's run listing answers, in UTF-8 or UTF-16. The same
pages may be imported again: runs that did not change are not written.";

pub(super) const STATUS_AFTER_HELP: &str = "\
Examples:
  archive status
  archive status --format json --connection ID";

pub(super) const QUERY_AFTER_HELP: &str = "\
The statement is carried out on a connection that only reads, with limits on
time and memory. Beside SQLite's own functions there are percentile(value, p)
and median(value), interpolated as in SQLite's shell, and nearest_rank(value, p),
a value that occurred; p goes from 0 to 100. Times are as in 'archive report';
--since and --until fill the query's parameters :since and :until.

Examples:
  archive query                                what queries are there?
  archive query failure-rates --since 4w
  archive query failure-rates --describe       what does it answer and take?
  archive query slowest-runs --format csv -o slowest.csv
  archive query --sql 'SELECT state, count(*) AS runs FROM runs GROUP BY state'
  archive query - --param limit=5 < my.sql

Exit codes:
  0  done
  1  failed, or stopped by --timeout
  2  wrong usage or configuration, or SQL that is malformed or not allowed";

pub(super) const REPORT_AFTER_HELP: &str = "\
Times are dates (the start of the day), instants such as 2026-11-16T08:00:00Z, 7d,
4w or 36h (so long ago; days and weeks count full days), today, yesterday,
this-week, last-week, this-month or last-month. Periods end before --until.

Examples:
  archive report                               the last seven full days
  archive report --since last-week --tz Europe/Berlin --format html -o report.html
  archive report --since 4w --connection ID --format markdown
In a crontab, a mail on Monday when more than one run in ten failed:
  0 7 * * 1  archive report --fail-over 10 --min-runs 20

Exit codes:
  0  done
  1  failed
  2  wrong usage or configuration
  6  a failure rate is above --fail-over";

pub(super) const VERIFY_AFTER_HELP: &str = "\
Examples:
  archive verify                  the file, and all that the platform lists
  archive verify --offline        the file alone; asks the platform nothing
  archive verify --repair --connection 'Bridge nightly'

Exit codes:
  0  nothing is off, or all that was is repaired
  1  failed
  2  wrong usage or configuration
  3  something is off, or could not be compared
  4  the platform refused the credentials
  5  another 'archive sync' holds this database (only with --repair)";

pub(super) const BACKUP_AFTER_HELP: &str = "\
Examples:
  archive backup /backup/archive-2026-11-25.db
In a crontab, over the copy of the day before:
  30 2 * * *  archive -q backup --replace /backup/archive.db";

pub(super) const RESTORE_AFTER_HELP: &str = "\
Examples:
  archive restore /backup/archive-2026-11-25.db
What was restored by mistake, undone:
  archive restore archive.db.2026-11-25T10-00-00Z.replaced

Exit codes:
  0  restored
  1  failed, or the copy is not sound; the archive is as it was
  2  wrong usage or configuration
  5  another process holds this database, or a program has it open";

pub(super) const REJECTS_AFTER_HELP: &str = "\
Examples:
  archive rejects                 what was set aside, and why
  archive rejects --retry         read it once more with this version
  archive rejects --format ndjson > rejects.ndjson";

pub(super) const PRUNE_AFTER_HELP: &str = "\
Lengths of time are written like 90d, 26weeks or 2y. Nothing goes without --yes,
and nothing without a copy: --backup makes and verifies one first, --no-backup says
that there is one. What walks stand on stays: the newest walk of a connection, its
newest complete one, and one that a later sync goes on with. Of runs only those go
that are completed, and their ids stay, so that they do not come back. The file
keeps its size until 'archive compact'.

Examples:
  archive prune --older-than 1y                what would go?
  archive prune --older-than 1y --yes --backup /backup/before-prune.db
  archive prune --older-than 3y --runs --yes --no-backup

Exit codes:
  0  done, or nothing is that old
  1  failed, or the copy is not sound; nothing was taken out
  2  wrong usage or configuration, or neither --backup nor --no-backup with --yes
  5  an 'archive sync' holds this database";

pub(super) const COMPACT_AFTER_HELP: &str = "\
The file is written anew through a temporary file and its log, so that for a while
up to twice its size is needed beside it; without that room nothing is begun.

Examples:
  archive compact                 after 'archive prune'
  archive compact --format json

Exit codes:
  0  done
  1  failed, or there is not enough room; the archive is as it was
  2  wrong usage or configuration
  5  an 'archive sync' holds this database";

pub(super) const DEMO_AFTER_HELP: &str = "\
Examples:
  archive demo                    into a new file, and says where it is
  archive demo --db demo.db       into this file, which must not exist yet";
