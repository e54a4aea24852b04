//! The control socket: what commands ask of the running server.
//!
//! One question a connection, a line of JSON each way. Only the server's own user may connect
//! (mode 0600).
#![allow(clippy::disallowed_methods, reason = "a driver: accepts connections and spawns for each")]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::call::Calls;
use crate::cli::{CliError, Common, output};
use crate::trunk::health::{Health, Reach};
use crate::trunk::registrations::{Registrations, Status};

/// The longest question.
const MAX_QUESTION: u64 = 4_096;

/// The longest answer a command reads: a trace is bounded far below.
const MAX_ANSWER: u64 = 4 << 20;

/// Questions at once.
const MAX_CONNECTIONS: usize = 16;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// `kaphila trace`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kaphila trace 1720012345.88")]
pub struct TraceArgs {
    /// The call's id, as /makecall answered.
    #[arg(value_name = "CALLID")]
    call_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Question {
    Trace { call_id: String },
    Trunks,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Text(String),
    Trunks(Live),
    NotFound,
    Refused(String),
}

/// What a running server knows of its trunks.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Live {
    /// Which of them answer.
    pub reaches: Vec<Reach>,
    /// At which of them we are registered.
    pub registrations: Vec<Status>,
}

/// What the socket tells of.
#[derive(Clone)]
pub struct Subjects {
    /// Calls.
    pub calls: Calls,
    /// Which trunks answer.
    pub health: Arc<Health>,
    /// Registrations.
    pub registrations: Arc<Registrations>,
}

/// The server's end of the socket.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        // One that stays behind is replaced by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Control {
    /// Binds the socket, in the place of one that a crash left behind: the lock on the data folder
    /// has told that no other server lives.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers until `stop`.
    pub async fn serve(self, subjects: Subjects, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let subjects = subjects.clone();
            tokio::spawn(async move {
                // Whoever asks and goes away needs no answer.
                let _ = tokio::time::timeout(PATIENCE, converse(stream, &subjects)).await;
                drop(place);
            });
        }
    }
}

async fn converse(mut stream: UnixStream, subjects: &Subjects) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(&mut stream).take(MAX_QUESTION).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(Question::Trace { call_id }) => {
            subjects.calls.trace(&call_id).await.map_or(Answer::NotFound, Answer::Text)
        }
        Ok(Question::Trunks) => Answer::Trunks(Live {
            reaches: subjects.health.reaches(),
            registrations: subjects.registrations.statuses(),
        }),
        Err(error) => Answer::Refused(error.to_string()),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    stream.write_all(&text).await
}

async fn ask(path: &Path, question: &Question) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path).await?;
    let mut text = serde_json::to_vec(question)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    let mut line = String::new();
    BufReader::new(stream).take(MAX_ANSWER).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// What the server knows that runs on a data folder; nothing where none runs.
pub async fn trunks(path: &Path) -> Live {
    match tokio::time::timeout(PATIENCE, ask(path, &Question::Trunks)).await {
        Ok(Ok(Answer::Trunks(live))) => live,
        _ => Live::default(),
    }
}

/// `kaphila trace`: prints what the server knows of a call.
///
/// # Errors
/// No server, or no such call among the live and the last ended ones.
pub async fn trace(common: &Common, args: TraceArgs) -> Result<(), CliError> {
    let (config, _) = common.load()?;
    let path = config.paths.control();
    let question = Question::Trace { call_id: args.call_id.clone() };
    let asked = tokio::time::timeout(PATIENCE, ask(&path, &question)).await;
    match asked.map_err(|_| CliError::Failed("the server does not answer".into()))? {
        Ok(Answer::Text(text)) if common.json => {
            let lines: Vec<&str> = text.lines().collect();
            output::line(serde_json::json!({ "callId": args.call_id, "trace": lines }));
            Ok(())
        }
        Ok(Answer::Text(text)) => {
            output::write(&text);
            Ok(())
        }
        Ok(Answer::NotFound) => Err(CliError::NotFound(format!(
            "call {} is not among the live and the last ended ones",
            args.call_id
        ))),
        Ok(Answer::Refused(why)) => Err(CliError::Failed(why)),
        Ok(Answer::Trunks(_)) => Err(CliError::Failed("another answer".into())),
        Err(error) => {
            let path = path.display();
            Err(CliError::Failed(format!("no server answers on {path} ({error}); is it running?")))
        }
    }
}
