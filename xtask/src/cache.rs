//! Where tasks keep what they download.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A folder in the user's cache folder, as `.ci/run` finds it.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(find(env::var_os("XDG_CACHE_HOME"), env::home_dir())?.join("ec2t"))
}

fn find(xdg: Option<impl Into<PathBuf>>, home: Option<PathBuf>) -> Result<PathBuf> {
    let xdg = xdg.map(Into::into).filter(|path| !path.as_os_str().is_empty());
    let cache = xdg.or_else(|| Some(home?.join(".cache")));
    cache.context("no home folder to keep downloads in; set XDG_CACHE_HOME")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_folder_is_where_the_environment_says() {
        let home = || Some(PathBuf::from("me"));
        assert_eq!(find(Some("c"), home()).unwrap(), Path::new("c"));
        assert_eq!(find(Some(""), home()).unwrap(), Path::new("me").join(".cache"));
        assert_eq!(find(None::<&str>, home()).unwrap(), Path::new("me").join(".cache"));
        let error = find(None::<&str>, None).unwrap_err().to_string();
        assert!(error.contains("XDG_CACHE_HOME"), "{error}");
    }
}
