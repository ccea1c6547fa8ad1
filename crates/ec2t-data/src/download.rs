//! One file over HTTP: continued after a break, checked before it counts.
//!
//! Bytes arrive in `FILE.part`. Only when there are as many as expected and
//! their SHA-256 is right does the file get its name. A part that can still
//! become right is kept for the next attempt; one that cannot is deleted.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use crate::error::DataError;
use crate::fetch::{Phase, Progress};
use crate::manifest::Download;
use crate::source::sha256_file;

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 16;

/// Downloads a file to `path`, unless it is already there.
pub(crate) fn download(
    agent: &Agent,
    file: &Download,
    path: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    if path.exists() {
        return check(file, path, progress);
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    Transfer { agent, file, part: &part }.run(progress)?;
    check(file, &part, progress)?;
    fs::rename(&part, path).map_err(DataError::io(path))
}

/// Compares a whole file with its checksum, and deletes a wrong one.
fn check(
    file: &Download,
    path: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    let mut report = |done| {
        progress(Progress { file: file.file_name(), phase: Phase::Check, done, total: file.bytes });
    };
    report(0);
    let (bytes, found) = sha256_file(path)?;
    if (bytes, &found) != (file.bytes, &file.sha256) {
        fs::remove_file(path).map_err(DataError::io(path))?;
        let expected = file.sha256.clone();
        return Err(DataError::Checksum { url: file.url.clone(), expected, found });
    }
    report(bytes);
    Ok(())
}

/// A download under way.
struct Transfer<'a> {
    agent: &'a Agent,
    file: &'a Download,
    part: &'a Path,
}

impl Transfer<'_> {
    /// Brings the part to its full length.
    fn run(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), DataError> {
        let mut have = match fs::metadata(self.part) {
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        };
        if have > self.file.bytes {
            have = 0;
        }
        if have == self.file.bytes {
            return Ok(());
        }
        let response = self.request(have)?;
        let start = self.check_headers(&response, have)?;
        let mut out = self.open(start)?;
        let mut body = response.into_body().into_reader();
        self.copy(&mut body, &mut out, start, progress)
    }

    /// Asks for the file, from byte `have` on.
    fn request(&self, have: u64) -> Result<Response<ureq::Body>, DataError> {
        let mut request =
            self.agent.get(&self.file.url).header(header::ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        request.call().map_err(|error| DataError::Unreachable {
            url: self.file.url.clone(),
            reason: error.to_string(),
        })
    }

    /// Where in the file the answer begins: at `have`, or at 0 from a server
    /// that knows no ranges. An answer of the wrong size is refused here, before
    /// any of it is read.
    fn check_headers(&self, response: &Response<ureq::Body>, have: u64) -> Result<u64, DataError> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let (start, size) = match response.status() {
            StatusCode::OK => (0, text(header::CONTENT_LENGTH)),
            StatusCode::PARTIAL_CONTENT => {
                let range = text(header::CONTENT_RANGE).unwrap_or_default();
                let rest = range.strip_prefix(&format!("bytes {have}-"));
                let rest = rest.ok_or_else(|| self.status(StatusCode::PARTIAL_CONTENT))?;
                (have, rest.split_once('/').map(|(_, total)| total))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.discard()?;
                return Err(self.status(StatusCode::RANGE_NOT_SATISFIABLE));
            }
            status => return Err(self.status(status)),
        };
        match size.and_then(|size| size.parse().ok()) {
            Some(found) if found != self.file.bytes => Err(self.wrong_size(found)),
            _ => Ok(start),
        }
    }

    fn open(&self, start: u64) -> Result<File, DataError> {
        let mut options = OpenOptions::new();
        match start {
            0 => options.write(true).create(true).truncate(true),
            _ => options.append(true),
        };
        options.open(self.part).map_err(DataError::io(self.part))
    }

    fn copy(
        &self,
        body: &mut impl Read,
        out: &mut File,
        start: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), DataError> {
        let (mut done, total) = (start, self.file.bytes);
        let mut block = vec![0; BLOCK];
        loop {
            progress(Progress { file: self.file.file_name(), phase: Phase::Download, done, total });
            let read = match body.read(&mut block) {
                Ok(0) if done == total => return Ok(()),
                Ok(0) => return Err(self.interrupted(done, "the server closed the connection")),
                Ok(read) => read,
                Err(error) => return Err(self.interrupted(done, &error.to_string())),
            };
            done += read as u64;
            if done > total {
                self.discard()?;
                return Err(self.wrong_size(done));
            }
            out.write_all(&block[..read]).map_err(DataError::io(self.part))?;
        }
    }

    fn discard(&self) -> Result<(), DataError> {
        fs::remove_file(self.part).map_err(DataError::io(self.part))
    }

    fn status(&self, status: StatusCode) -> DataError {
        DataError::Status { url: self.file.url.clone(), status: status.as_u16() }
    }

    fn wrong_size(&self, found: u64) -> DataError {
        DataError::RemoteSize { url: self.file.url.clone(), expected: self.file.bytes, found }
    }

    fn interrupted(&self, done: u64, reason: &str) -> DataError {
        let (url, reason) = (self.file.url.clone(), reason.to_owned());
        DataError::Interrupted { url, done, total: self.file.bytes, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sha256_hex;
    use crate::test_server::{Reply, Server};

    /// 300,000 bytes, so that there is more than one block.
    fn content() -> Vec<u8> {
        (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect()
    }

    struct Attempt {
        server: Server,
        file: Download,
        dir: tempfile::TempDir,
    }

    impl Attempt {
        fn new(replies: Vec<Reply>) -> Self {
            let server = Server::start(replies);
            let (url, content) = (server.url("/data.gz"), content());
            let bytes = content.len() as u64;
            let file = Download { url, bytes, sha256: sha256_hex(&content), unpack: false };
            Self { server, file, dir: tempfile::tempdir().unwrap() }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("data.gz")
        }

        fn part(&self) -> PathBuf {
            self.dir.path().join("data.gz.part")
        }

        fn run(&self) -> Result<(), DataError> {
            let config = Agent::config_builder().http_status_as_error(false).proxy(None);
            download(&config.build().new_agent(), &self.file, &self.path(), &mut |_| {})
        }

        fn assert_whole(&self) {
            assert_eq!(fs::read(self.path()).unwrap(), content());
            assert!(!self.part().exists());
        }
    }

    #[test]
    fn a_whole_file_arrives_and_is_not_asked_for_again() {
        let attempt = Attempt::new(vec![Reply::ok(&content())]);
        attempt.run().unwrap();
        attempt.run().unwrap();
        attempt.assert_whole();
        assert_eq!(attempt.server.requests().len(), 1);
    }

    #[test]
    fn a_broken_download_continues_where_it_broke_off() {
        let whole = content();
        let cut = Reply::ok(&whole).cut_after(100_000);
        let attempt = Attempt::new(vec![cut, Reply::partial(&whole, 100_000)]);
        match attempt.run().unwrap_err() {
            DataError::Interrupted { done: 100_000, total: 300_000, .. } => {}
            other => panic!("{other}"),
        }
        assert!(!attempt.path().exists());
        attempt.run().unwrap();
        attempt.assert_whole();
        let requests = attempt.server.requests();
        assert!(!requests[0].contains("range:"), "{requests:?}");
        assert!(requests[1].contains("range: bytes=100000-\r\n"), "{requests:?}");
    }

    #[test]
    fn a_server_without_ranges_sends_all_again() {
        let attempt = Attempt::new(vec![Reply::ok(&content())]);
        fs::write(attempt.part(), b"something else").unwrap();
        attempt.run().unwrap();
        attempt.assert_whole();
    }

    #[test]
    fn a_range_that_was_not_asked_for_is_refused() {
        let attempt = Attempt::new(vec![Reply::partial(&content(), 5)]);
        fs::write(attempt.part(), b"abc").unwrap();
        assert!(matches!(attempt.run(), Err(DataError::Status { status: 206, .. })));
        assert_eq!(fs::read(attempt.part()).unwrap(), b"abc");
    }

    #[test]
    fn a_wrong_checksum_leaves_nothing() {
        let mut wrong = content();
        wrong[77] ^= 1;
        let attempt = Attempt::new(vec![Reply::ok(&wrong), Reply::ok(&content())]);
        match attempt.run().unwrap_err() {
            DataError::Checksum { expected, found, .. } => {
                assert_eq!((expected, found), (sha256_hex(&content()), sha256_hex(&wrong)));
            }
            other => panic!("{other}"),
        }
        assert!(!attempt.path().exists() && !attempt.part().exists());
        attempt.run().unwrap();
        attempt.assert_whole();
    }

    #[test]
    fn a_wrong_size_is_refused_unread() {
        for len in [299_999, 300_001] {
            let mut other = content();
            other.resize(len, 0);
            let attempt = Attempt::new(vec![Reply::ok(&other)]);
            match attempt.run().unwrap_err() {
                DataError::RemoteSize { expected: 300_000, found, .. } => {
                    assert_eq!(found, len as u64);
                }
                other => panic!("{other}"),
            }
            assert!(!attempt.part().exists());
        }
    }

    #[test]
    fn a_server_that_never_ends_is_cut_off() {
        let endless = Reply::ok(&vec![1; 400_000]).without_length();
        let attempt = Attempt::new(vec![endless]);
        assert!(matches!(attempt.run(), Err(DataError::RemoteSize { .. })));
        assert!(!attempt.part().exists());
    }

    #[test]
    fn a_missing_file_is_a_status() {
        let attempt = Attempt::new(vec![Reply::status("404 Not Found")]);
        let error = attempt.run().unwrap_err();
        assert!(matches!(error, DataError::Status { status: 404, .. }));
        assert!(error.to_string().contains("/data.gz"), "{error}");
        assert!(!attempt.part().exists());
    }

    #[test]
    fn no_server_is_unreachable() {
        let attempt = Attempt::new(vec![]);
        let file = Download { url: "http://127.0.0.1:1/x.gz".into(), ..attempt.file.clone() };
        let attempt = Attempt { file, ..attempt };
        assert!(matches!(attempt.run(), Err(DataError::Unreachable { .. })));
    }
}
