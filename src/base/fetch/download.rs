//! Inside the second cage: apt's downloader fetches what is missing, and checks it.

use std::path::Path;

use super::apt::{self, Apt};
use super::{Wanted, names};
use crate::base::progress::{OWN, say};
use crate::base::{BaseError, spec::read_json};
use crate::host::cage::{IN, OUT};
use crate::host::files;

/// So many are given to one call: command lines have an end.
const AT_ONCE: usize = 100;

/// Entry of the role `download`.
pub async fn download_main() -> Result<(), BaseError> {
    let apt = Apt::new(&apt::ask()?, "")?;
    let missing: Vec<Wanted> = read_json(&Path::new(IN).join(names::MISSING))?;
    let debs = Path::new(OUT).join(names::DEBS);
    files::create_dir(&debs)?;
    for (number, some) in missing.chunks(AT_ONCE).enumerate() {
        let done = number * AT_ONCE;
        say(&format!("downloading packages, {done} of {} are here", missing.len()));
        download(&apt, &debs, some).await?;
    }
    Ok(())
}

async fn download(apt: &Apt, debs: &Path, some: &[Wanted]) -> Result<(), BaseError> {
    let words = some.iter().flat_map(|wanted| {
        let target = debs.join(&wanted.file).to_string_lossy().into_owned();
        [wanted.uri.clone(), target, format!("SHA256:{}", wanted.sha256)]
    });
    let helper = apt.command("/usr/lib/apt/apt-helper").arg("download-file").args(words);
    // What it could not get, it says on standard error.
    let run = helper.run_with(|line| say(line.trim_start_matches(OWN)));
    Ok(run.await.map(drop)?)
}
