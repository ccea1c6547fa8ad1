//! The page in Chromium, without a window.
//!
//! The page is served from here, with a script behind its own that sends an answer back, and
//! the browser ended when that has come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::page::test_script;
use super::{read, source};
use crate::shell;

/// What the browser may be called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Keeps errors from before the page's own scripts on.
const WATCH: &str = "<script>
const faults = [];
addEventListener('error', (event) => faults.push(event.message));
addEventListener('unhandledrejection', (event) => faults.push(String(event.reason)));
for (const level of ['error', 'warn']) console[level] = (...words) => faults.push(words.join(' '));
</script>";

/// The browser, if it is here.
pub(super) fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut programs =
        env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    programs.find(|program| program.is_file())
}

/// The page with the script that drops a model on it.
pub(super) fn test_page(page: &str, model: &str) -> Result<String> {
    let models = format!("{{ \"model.ec2t\": \"{}\" }}", STANDARD.encode(read(&source(model))?));
    let script = test_script("test.js")?;
    let page = page.replacen("<head>", &format!("<head>\n{WATCH}"), 1);
    let (before, behind) = page.rsplit_once("</body>").context("the page has no </body>")?;
    Ok(format!("{before}<script>\nconst MODELS = {models};\n{script}</script>\n</body>{behind}"))
}

/// The answer of the page in the browser.
pub(super) fn ask(browser: &PathBuf, page: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot serve the page")?;
    listener.set_nonblocking(true)?;
    let profile = tempfile::tempdir()?;
    let mut command = Command::new(browser);
    command
        // The sandbox does not start for root, nor in many containers; the page is ours.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{}/", listener.local_addr()?))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    eprintln!("$ {}", shell::describe(&command));
    let mut browser = Browser(command.spawn().context("cannot start the browser")?);
    let end = Instant::now() + TIMEOUT;
    while Instant::now() < end {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(answer) = serve(stream, page)? {
                    return Ok(answer);
                }
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
        if let Some(status) = browser.0.try_wait()? {
            bail!("the browser ended before the page answered ({status})");
        }
    }
    bail!("the page has not answered within {} s", TIMEOUT.as_secs())
}

/// A browser that does not outlive its use.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves one request: gives the page, or takes the answer. Connections that browsers open
/// ahead and don't use are no error.
fn serve(stream: TcpStream, page: &str) -> Result<Option<String>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut reader = BufReader::new(&stream);
    let mut first = String::new();
    if !matches!(reader.read_line(&mut first), Ok(1..)) {
        return Ok(None);
    }
    let length = body_length(&mut reader)?;
    let (status, body, answer) = match first.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["GET", "/"] => ("200 OK", page, None),
        ["POST", "/answer"] => {
            let mut answer = vec![0; length];
            reader.read_exact(&mut answer)?;
            ("200 OK", "", Some(String::from_utf8(answer)?))
        }
        _ => ("404 Not Found", "", None),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (&stream).write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    Ok(answer)
}

/// Reads the rest of a request's head: how long its body is.
fn body_length(reader: &mut impl BufRead) -> Result<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse()?;
                ensure!(length <= MAX_ANSWER, "an answer of {length} bytes");
            }
            Some(_) => {}
            None => return Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server says to a request, and what it makes of it.
    fn exchange(request: &str) -> (String, Option<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let answer = serve(listener.accept().unwrap().0, "<p>page").unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        (reply, answer)
    }

    #[test]
    fn the_page_is_served_and_its_answer_taken() {
        let (reply, answer) = exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.ends_with("\r\n\r\n<p>page") && answer.is_none());
        let (_, answer) = exchange("POST /answer HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(answer.unwrap(), "{}");
        let (reply, answer) = exchange("GET /favicon.ico HTTP/1.1\r\n\r\n");
        assert!(reply.starts_with("HTTP/1.1 404 ") && answer.is_none());
    }

    #[test]
    fn errors_are_watched_for_before_all_scripts() {
        let page = "<html><head><script>a</script></head><body>b</body></html>";
        let page = test_page(page, super::super::page::PICTURE).unwrap();
        let [watch, own, test] = ["const faults", "<script>a", "const MODELS"]
            .map(|part| page.find(part).unwrap_or_else(|| panic!("no {part}: {page}")));
        assert!(watch < own && own < test);
        assert!(page.ends_with("</script>\n</body></html>"));
    }
}
