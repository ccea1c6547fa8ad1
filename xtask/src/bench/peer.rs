//! One side of a comparison: a child process that works on request.
//!
//! It says who it is on its first line, then answers every line of its input, a
//! request, with one line, once the work is done. Its lines are JSON; what answers
//! hold is up to the comparison:
//!
//! ```text
//! {"peer":"ec2t 0.1.0, avx512","threads":2}
//! {"milliseconds":251.3,"parameters":269722}
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A running child process.
pub(crate) struct Peer {
    name: String,
    child: Child,
    /// Gone once the process was waited for.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Collects what the process writes to stderr.
    errors: Option<JoinHandle<String>>,
    /// What it said first.
    pub(crate) hello: Hello,
}

/// Who a peer is.
#[derive(Debug, Deserialize)]
pub(crate) struct Hello {
    /// Name and version.
    pub(crate) peer: String,
    /// On how many threads it works.
    pub(crate) threads: usize,
}

/// A time in an answer, which is more than none.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Milliseconds(pub(crate) f64);

impl TryFrom<f64> for Milliseconds {
    type Error = String;

    fn try_from(milliseconds: f64) -> Result<Self, String> {
        match milliseconds > 0.0 {
            true => Ok(Self(milliseconds)),
            false => Err(format!("a work took {milliseconds} ms")),
        }
    }
}

impl Peer {
    /// Starts a process, which messages call `name`, and waits for its first line.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self> {
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = streams.get_program().to_string_lossy().into_owned();
        let mut child =
            streams.spawn().with_context(|| format!("{name}: cannot start {program}"))?;
        let pipe = || anyhow!("{name}: a pipe is missing");
        let input = Some(child.stdin.take().ok_or_else(pipe)?);
        let output = BufReader::new(child.stdout.take().ok_or_else(pipe)?);
        let errors = collect(child.stderr.take().ok_or_else(pipe)?);
        let hello = Hello { peer: String::new(), threads: 0 };
        let mut peer =
            Self { name: name.into(), child, input, output, errors: Some(errors), hello };
        peer.hello = peer.read("starting")?;
        Ok(peer)
    }

    /// Has the peer do what is asked.
    pub(crate) fn ask<A: DeserializeOwned>(&mut self, request: &str) -> Result<A> {
        if let Some(input) = &mut self.input {
            // A process that is gone shows in the answer, with its reason.
            let _ = writeln!(input, "{request}").and_then(|()| input.flush());
        }
        self.read(&format!("working on `{request}`"))
    }

    /// A number of the process's status, in KiB; on Linux.
    pub(crate) fn memory(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        kibibytes(&status, field).with_context(|| format!("{path} has no {field}"))
    }

    /// The next line; where there is none, an error that says why.
    fn read<T: DeserializeOwned>(&mut self, what: &str) -> Result<T> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        read.with_context(|| format!("{}: {what}", self.name))?;
        if line.is_empty() {
            return Err(self.ended(what));
        }
        let unexpected = || format!("{}: {what}: unexpected line {line:?}", self.name);
        serde_json::from_str(&line).with_context(unexpected)
    }

    fn ended(&mut self, what: &str) -> anyhow::Error {
        self.input = None;
        let status = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        anyhow!("{} ended while {what} ({status}):\n{}", self.name, errors.trim_end())
    }
}

impl Drop for Peer {
    /// Ends the process, which has nothing to lose.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end, so that its writer is never held up.
fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A field of `/proc/PID/status`, such as `VmHWM:   251234 kB`.
fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let values = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    values?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn start(script: &str) -> Result<Peer> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Peer::start("fake", command)
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Answer {
        milliseconds: Milliseconds,
    }

    const HELLO: &str = r#"echo '{"peer":"fake 1","threads":3}'"#;

    #[test]
    fn works_are_answered_in_turn() {
        let reply = r#"while read n; do echo "{\"milliseconds\":$n.5}"; done"#;
        let mut peer = start(&format!("{HELLO}; {reply}")).unwrap();
        assert_eq!((peer.hello.peer.as_str(), peer.hello.threads), ("fake 1", 3));
        for (request, milliseconds) in [("1", 1.5), ("20", 20.5)] {
            let answer: Answer = peer.ask(request).unwrap();
            assert_eq!(answer, Answer { milliseconds: Milliseconds(milliseconds) });
        }
    }

    #[test]
    fn the_end_of_a_peer_is_told_with_its_last_words() {
        let error = start("echo no such module >&2; exit 3").err().unwrap().to_string();
        assert!(error.contains("fake ended while starting (exit status: 3)"), "{error}");
        assert!(error.ends_with("no such module"), "{error}");

        let mut peer = start(&format!("{HELLO}; read n; echo too large: $n >&2")).unwrap();
        let error = peer.ask::<Answer>("a-work").unwrap_err().to_string();
        assert!(error.contains("fake ended while working on `a-work`"), "{error}");
        assert!(error.ends_with("too large: a-work"), "{error}");
    }

    #[test]
    fn a_line_that_is_no_answer_is_shown() {
        let mut peer = start(&format!("{HELLO}; echo hello; cat >&2")).unwrap();
        let error = format!("{:#}", peer.ask::<Answer>("a-work").unwrap_err());
        assert!(error.contains(r#"unexpected line "hello\n""#), "{error}");
    }

    #[test]
    fn a_work_takes_time() {
        let mut peer = start(&format!("{HELLO}; echo '{{\"milliseconds\":0}}'; cat >&2")).unwrap();
        let error = format!("{:#}", peer.ask::<Answer>("a-work").unwrap_err());
        assert!(error.contains("fake: working on `a-work`: unexpected line"), "{error}");
        assert!(error.contains("a work took 0 ms"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Peer::start("fake", Command::new("no-such-program")).err().unwrap();
        assert_eq!(error.to_string(), "fake: cannot start no-such-program");
    }

    #[test]
    fn memory_is_read_from_the_status() {
        let status = "Name:\tsh\nVmPeak:\t    9 kB\nVmHWM:\t  251234 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(status, "VmHWM"), Some(251_234));
        assert_eq!(kibibytes(status, "VmRSS"), None);
        assert_eq!(kibibytes(status, "Threads"), None);
    }
}
